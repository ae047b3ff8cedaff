# Leaves a daemon that holds stdout and ignores signals. The script's end is the end.
# expect: "done"
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(5)
        print("late", flush=True)
    os._exit(0)
os.wait()
print("done")
