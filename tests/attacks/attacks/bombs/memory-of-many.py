# Takes memory in many processes, each of which is small.
# expect pod: out of memory, exit any, signal any, stdout any
for _ in range(20):
    if os.fork() == 0:
        taken = b"x" * (32 << 20)
        time.sleep(10)
        os._exit(0)
for _ in range(20):
    os.wait()
