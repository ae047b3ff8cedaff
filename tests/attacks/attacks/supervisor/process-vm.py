# Reads and writes the supervisor's memory with process_vm_readv and its kin.
# expect: "refused EPERM"
parent = os.getppid()
attempt(
    syscall(310, 270, parent, 0, 0, 0, 0, 0),
    syscall(311, 271, parent, 0, 0, 0, 0, 0),
    syscall(440, 440, parent, 0, 0, 21, 0),
    syscall(279, 239, parent, 0, 0, 0, 0, 0),
)
