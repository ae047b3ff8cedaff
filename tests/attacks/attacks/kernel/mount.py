# Mounts and unmounts file systems, at a place that is not there.
# expect: "refused EPERM"
attempt(
    call("mount", b"none", b"/none", b"tmpfs", 0, None),
    call("mount", b".", b"/none", None, 0x1000, None),
    call("umount2", b"/none", 2),
    syscall(155, 41, b"/none", b"/none"),
    call("chroot", b"/none"),
)
