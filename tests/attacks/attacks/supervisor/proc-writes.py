# Changes the supervisor through its files in /proc.
# expect: "[]"
parent = "/proc/%d/" % os.getppid()
names = ["oom_score_adj", "comm", "coredump_filter", "timerslack_ns", "autogroup", "clear_refs", "mem", "uid_map"]
names.append("setgroups")
breaches({name: lambda name=name: os.open(parent + name, os.O_WRONLY) for name in names})
