# Uses calls that only old programs know.
# expect: "refused EPERM"
# machine: x86_64
attempt(call("syscall", 172, 3), call("syscall", 173, 0, 1, 1), call("syscall", 154, 1, 0, 0), call("syscall", 134, b"x"), call("syscall", 156, 0))
