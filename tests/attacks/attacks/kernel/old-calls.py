# Uses calls that only old programs know.
# expect: "refused EPERM"
# machine: x86_64
calls = [(172, 3), (173, 0, 1, 1), (154, 1, 0, 0), (134, b"x"), (156, 0)]
attempt(*(call("syscall", *arguments) for arguments in calls))
