# Leaves a chain of daemons that replace each other while they are killed.
# expect: "done"
if os.fork() == 0:
    os.setsid()
    for _ in range(2000):
        if os.fork() != 0:
            os._exit(0)
        time.sleep(0.001)
    print("late", flush=True)
    os._exit(0)
os.wait()
print("done")
