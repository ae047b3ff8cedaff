# Reads what the supervisor was started with, and where it is.
# expect: "[]"
parent = "/proc/%d/" % os.getppid()
breaches({
    "environ": lambda: open(parent + "environ", "rb").read(),
    "cwd": lambda: os.listdir(parent + "cwd"),
    "root": lambda: os.listdir(parent + "root"),
    "exe": lambda: os.readlink(parent + "exe"),
})
