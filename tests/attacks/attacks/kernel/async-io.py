# Takes the machine's share of asynchronous I/O.
# expect: "refused EPERM"
attempt(syscall(206, 0, 65536, ctypes.byref(ctypes.c_ulong())))
