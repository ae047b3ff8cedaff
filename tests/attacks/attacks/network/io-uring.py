# Has io_uring open a socket behind the filter's back.
# expect: "refused ENOSYS"
ring = ctypes.create_string_buffer(256)
attempt(syscall(425, 425, 8, ring), syscall(426, 426, 0, 1, 0, 0, 0, 0), syscall(427, 427, 0, 0, 0, 0))
