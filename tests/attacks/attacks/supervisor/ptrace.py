# Attaches to the supervisor as a debugger, and to a child of its own.
# expect: "refused EPERM"
libc.ptrace.argtypes = [ctypes.c_long] * 4
attempt(*(call("ptrace", request, os.getppid(), 0, 0) for request in (16, 0x4206)), call("ptrace", 0, 0, 0, 0))
