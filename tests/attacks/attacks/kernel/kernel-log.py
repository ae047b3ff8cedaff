# Reads the kernel's log.
# expect: "refused EPERM"
attempt(syscall(103, 116, 3, ctypes.create_string_buffer(64), 64), syscall(103, 116, 10, 0, 0))
