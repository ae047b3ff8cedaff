# Changes the kernel's settings: where cores go, what runs on a hot plug, what overcommit is.
# expect: "[]"
names = ["kernel/core_pattern", "kernel/modprobe", "kernel/hotplug", "vm/overcommit_memory", "fs/binfmt_misc/register", "vm/drop_caches"]
breaches({name: lambda name=name: os.open("/proc/sys/" + name, os.O_WRONLY) for name in names}
    | {name: lambda name=name: os.open(name, os.O_WRONLY) for name in ("/proc/sysrq-trigger", "/sys/kernel/uevent_helper", "/sys/power/state")})
