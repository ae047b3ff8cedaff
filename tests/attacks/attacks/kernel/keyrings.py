# Reads and leaves keys in the kernel's keyrings, which outlive a process. There is no keyring 0.
# expect: "refused EPERM"
attempt(
    syscall(248, 217, b"user", b"attack", b"residue", 7, 0),
    syscall(249, 218, b"user", b"attack", 0, 0),
    syscall(250, 219, 0, -4, 0),
    syscall(250, 219, 0, -3, 0),
)
