# Opens a socket in the numbers of x32.
# machine: x86_64
# expect: signal 31
print(libc.syscall(0x40000000 | 41, 2, 1, 0))
