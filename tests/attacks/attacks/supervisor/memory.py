# Reads the supervisor's memory.
# expect: "[]"
parent = "/proc/%d/" % os.getppid()
names = ["mem", "maps", "smaps", "pagemap", "auxv", "stack", "syscall", "map_files", "clear_refs"]
breaches({name: lambda name=name: open(parent + name, "rb").read(1) for name in names if name != "map_files"})
