# Watches everybody's files with fanotify.
# expect: "refused EPERM"
attempt(syscall(300, 262, 0, 0), syscall(300, 262, 0x200, 0))
