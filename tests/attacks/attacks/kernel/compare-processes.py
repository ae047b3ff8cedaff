# Compares and moves what belongs to other processes.
# expect: "refused EPERM"
attempt(
    syscall(312, 272, os.getpid(), os.getppid(), 0, 0, 0),
    syscall(256, 238, os.getppid(), 0, 0, 0),
    syscall(448, 448, 0, 0),
)
