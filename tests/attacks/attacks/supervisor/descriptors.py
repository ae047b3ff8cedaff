# Opens the supervisor's descriptors, to write frames of its own.
# expect: "[]"
parent = "/proc/%d/fd/" % os.getppid()
actions = {"list": lambda: os.listdir(parent)}
for number in range(64):
    actions["read %d" % number] = lambda number=number: os.open(parent + str(number), os.O_RDONLY | os.O_NONBLOCK)
    actions["write %d" % number] = lambda number=number: os.open(parent + str(number), os.O_WRONLY | os.O_NONBLOCK)
breaches(actions)
