# Loads and unloads kernel modules, and another kernel, with arguments that would fail if it could.
# expect: "refused EPERM"
attempt(
    syscall(175, 105, b"", 0, b""), syscall(313, 273, 0, b"", 0), syscall(176, 106, b"nothing", 0),
    syscall(246, 104, 0, 0, 0, -1), syscall(320, 294, -1, -1, 0, b"", 0),
)
