# Makes a pair of sockets that are not local: TIPC has them.
# expect: "refused EPERM"
attempt(*(call("socketpair", family, 1, 0, (ctypes.c_int * 2)()) for family in (2, 10, 16, 30, 38, 40)))
