# Looks at what else is on the machine.
# expect local: "[]"
names = ["/", "/home", "/root", "/tmp", "/var", "/run", "/proc", "/sys", "/dev", "/mnt", "/boot", ".."]
names += targets.get("directories", [])
breaches({name: lambda name=name: os.listdir(name) for name in names if name != ".."})
