# Becomes the parent of all orphans and outlives its parent's death, in a session of its own.
# expect: "done"
libc.prctl(36, 1, 0, 0, 0)
if os.fork() == 0:
    libc.prctl(1, 0, 0, 0, 0)
    libc.prctl(36, 1, 0, 0, 0)
    os.setsid()
    for _ in range(3):
        if os.fork() == 0:
            time.sleep(5)
            print("late", flush=True)
    os._exit(0)
print("done", flush=True)
os._exit(0)
