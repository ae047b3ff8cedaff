# Changes mode, owner, times and attributes of the user's file, which Landlock does not guard. The harness looks at it.
# expect local: "done"
secret = targets["files"][0]
for change in (
    lambda: os.chmod(secret, 0o777),
    lambda: os.chmod("/proc/self/root" + secret, 0o777),
    syscall(452, 452, -100, secret.encode(), 0o777, 0),
    lambda: os.utime(secret, (0, 0)),
    lambda: os.chown(secret, 65534, 65534),
    lambda: os.setxattr(secret, "user.attack", b"x"),
):
    outcome(change)
print("done")
