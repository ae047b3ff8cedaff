# Looks for processes outside the sandbox that a signal would reach. Signal 0 does nothing.
# expect: "True"
# One is inside, shares the script's memory, and can do what the script can.
reachable = []
for pid in range(1, 1 << 16):
    if pid not in (os.getpid(), os.getppid()):
        try:
            os.kill(pid, 0)
            reachable.append(pid)
        except OSError:
            pass
print(len(reachable) <= 1 or reachable)
