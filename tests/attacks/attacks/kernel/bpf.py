# Loads a program into the kernel.
# expect: "refused EPERM"
attempt(syscall(321, 280, 0, ctypes.create_string_buffer(128), 128))
