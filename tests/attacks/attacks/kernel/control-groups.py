# Leaves its control group, and has the kernel run a program when the group is empty.
# expect: "[]"
import glob

files = [name for pattern in ("*", "*/*") for name in glob.glob("/sys/fs/cgroup/" + pattern)]
files += ["/sys/fs/cgroup/" + name for name in ("cgroup.procs", "release_agent", "memory.max", "pids.max")]


def directory():
    os.mkdir("/sys/fs/cgroup/rockbot-attack")
    os.rmdir("/sys/fs/cgroup/rockbot-attack")


breaches({"mkdir": directory, **{name: lambda name=name: os.open(name, os.O_WRONLY) for name in files}})
