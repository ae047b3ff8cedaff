# Reads the command lines of the user's programs, where passwords are.
# expect local: "[]"
pid = str(targets["pid"])
names = ["cmdline", "environ", "status", "stat", "comm", "maps", "io", "limits", "mounts", "cgroup"]
breaches({name: lambda name=name: open("/proc/%s/%s" % (pid, name)).read() for name in names})
