# Leaves its control group, and has the kernel run a program when the group is empty.
# expect: "[]"
import glob

files = [name for pattern in ("*", "*/*") for name in glob.glob("/sys/fs/cgroup/" + pattern)]
files += ["/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/pids.max"]
breaches({name: lambda name=name: os.open(name, os.O_WRONLY) for name in files} | {"mkdir": lambda: (os.mkdir("/sys/fs/cgroup/rockbot-attack"), os.rmdir("/sys/fs/cgroup/rockbot-attack"))})
