# Becomes root in a user namespace of its own.
# expect: "refused EPERM"
attempt(call("unshare", 0x10000000), syscall(56, 220, 0x10000000 | 17, 0, 0, 0, 0))
