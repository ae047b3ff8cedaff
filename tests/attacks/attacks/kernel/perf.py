# Watches the machine's processors.
# expect: "refused EPERM"
event = ctypes.create_string_buffer(struct.pack("=II", 1, 128), 128)
attempt(syscall(298, 241, event, 0, -1, -1, 0), syscall(298, 241, event, -1, 0, -1, 0))
