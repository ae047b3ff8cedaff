# Fills the shared memory of its pod.
# expect pod: stdout any
# expect pod: out of memory, signal 9, stdout any
def bomb():
    for number in range(1000):
        with open("/dev/shm/file-%d" % number, "wb") as file:
            file.write(b"x" * (1 << 20))


attempt(bomb)
