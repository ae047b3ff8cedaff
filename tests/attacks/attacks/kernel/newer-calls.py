# Makes system calls that nobody has judged yet.
# expect: "refused ENOSYS"
attempt(*(syscall(number, number, -1, -1, -1) for number in range(470, 1024)))
