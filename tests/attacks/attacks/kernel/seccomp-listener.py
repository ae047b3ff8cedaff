# Makes itself a supervisor of system calls.
# expect: "refused EPERM"
program = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", 1, 0), 16)
attempt(syscall(317, 277, 1, 8, program), syscall(317, 277, 3, 0, program))
