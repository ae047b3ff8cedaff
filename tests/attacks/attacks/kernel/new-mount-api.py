# Mounts by the calls that old filters do not know.
# expect: "refused EPERM"
attempt(
    syscall(430, 430, b"tmpfs", 0),
    syscall(432, 432, 0, 0, 0),
    syscall(428, 428, -100, b"/", 1),
    syscall(429, 429, -100, b"/none", -100, b"/none", 0),
    syscall(442, 442, -100, b"/none", 0, 0, 0),
    syscall(433, 433, -100, b"/", 0),
)
