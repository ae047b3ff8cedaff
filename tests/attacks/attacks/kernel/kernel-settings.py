# Changes the kernel's settings: where cores go, what runs on a hot plug, what overcommit is.
# expect: "[]"
names = ["kernel/core_pattern", "kernel/modprobe", "kernel/hotplug", "vm/overcommit_memory", "vm/drop_caches"]
names = ["/proc/sys/" + name for name in [*names, "fs/binfmt_misc/register"]]
names += ["/proc/sysrq-trigger", "/sys/kernel/uevent_helper", "/sys/power/state"]
breaches({name: lambda name=name: os.open(name, os.O_WRONLY) for name in names})
