# Forks until it cannot, and leaves the processes. On one machine the limit is the user's, so the bomb is a small one.
# expect pod: "refused EAGAIN"
# expect local: stdout any
def bomb():
    for _ in range(300):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)


attempt(bomb)
