# Sets the machine's clock and name.
# expect: "refused EPERM"
attempt(
    syscall(227, 112, 99, 0), syscall(164, 170, 0, 0), syscall(159, 171, 0),
    call("sethostname", b"", -1), call("setdomainname", b"", -1),
)
