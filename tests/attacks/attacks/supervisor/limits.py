# Gives the supervisor no CPU time, no descriptors and the last place in the queue.
# expect: "refused EPERM"
import resource

parent = os.getppid()
attempt(
    lambda: resource.prlimit(parent, resource.RLIMIT_CPU, (1, 1)),
    lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE, (0, 0)),
    lambda: os.setpriority(os.PRIO_PROCESS, parent, 19),
    lambda: os.setpriority(os.PRIO_PGRP, 0, 19),  # Beside whom it could name everybody: PRIO_USER.
    lambda: os.sched_setaffinity(parent, [0]),
    lambda: os.sched_setscheduler(parent, os.SCHED_IDLE, os.sched_param(0)),
    syscall(251, 30, 1, parent, 3 << 13),
)
