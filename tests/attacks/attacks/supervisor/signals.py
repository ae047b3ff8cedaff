# Kills, stops and disturbs the supervisor, which is the first process of a pod.
# expect: "refused EPERM"
parent = os.getppid()
numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGSTOP, signal.SIGKILL, signal.SIGSEGV)
attempt(*(lambda number=number: os.kill(parent, number) for number in numbers))
