# Leaves a message queue behind, which outlives a process.
# expect: "refused EPERM"
attempt(syscall(240, 180, b"attack", 0o102, 0o600, 0), syscall(241, 181, b"attack"))
