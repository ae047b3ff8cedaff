# Stops the kernel in the middle of a copy, a help in many exploits.
# expect: "refused EPERM"
attempt(syscall(323, 282, 0), syscall(323, 282, 1))
