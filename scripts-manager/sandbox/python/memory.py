"""Whether the kernel killed somebody because memory ran out: its own count, for the control group of this process."""
import contextlib, os


class KillCount:
    """The count, opened before the walls go up. In a pod nobody else is in that group; on one machine others may be."""

    def __init__(self):
        self.file = None
        with contextlib.suppress(OSError), open("/proc/self/cgroup") as groups:
            for group in groups:
                _, kind, path = group.rstrip("\n").split(":", 2)
                if kind == "":
                    self.open("/sys/fs/cgroup", path, "memory.events")
                elif "memory" in kind.split(","):
                    self.open("/sys/fs/cgroup/memory", path, "memory.oom_control")
        self.begin = self.now()

    def open(self, mount, path, name):
        for group in (path, "/"):  # A container sees its own group as the root.
            if self.file is None:
                with contextlib.suppress(OSError):
                    self.file = os.open(os.path.join(mount + group, name), os.O_RDONLY | os.O_CLOEXEC)

    def now(self):
        if self.file is not None:
            with contextlib.suppress(OSError):
                for line in os.pread(self.file, 4096, 0).splitlines():
                    if line.startswith(b"oom_kill "):
                        return int(line.split()[1])
        return None

    def killed(self, by_surprise):
        """Whether it grew. `by_surprise`: the script ended by a SIGKILL that this process did not send."""
        count = self.now()
        if count is None:  # An old kernel, or no view of the group: the best guess.
            return by_surprise
        return count > self.begin and (by_surprise or not LOCAL)
