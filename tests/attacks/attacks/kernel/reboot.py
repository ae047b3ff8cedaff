# Restarts the machine and turns off its swap and accounting, with arguments that would fail if it could.
# expect: "refused EPERM"
attempt(syscall(169, 142, 0, 0, 0, 0), call("swapoff", b"/none"), call("swapon", b"/none", 0), call("acct", b"/none"))
