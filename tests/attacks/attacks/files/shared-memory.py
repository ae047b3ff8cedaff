# Leaves something in the machine's shared memory.
# expect local: "[]"
breaches({"make": lambda: make("/dev/shm/rockbot-attack-%d" % os.getpid()), "list": lambda: os.listdir("/dev/shm")})
