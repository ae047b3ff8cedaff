# Fills its directory, which is memory.
# expect pod: "refused ENOSPC"
# expect pod: out of memory, signal 9, stdout any
def bomb():
    for number in range(1000):
        with open("file-%d" % number, "wb") as file:
            file.write(b"x" * (1 << 20))


attempt(bomb)
