# Takes the processors for itself.
# expect: "refused EPERM"
attempt(
    lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)),
    lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)),
    syscall(314, 274, 0, ctypes.create_string_buffer(struct.pack("=IIQiIQQQ", 48, 6, 0, 0, 0, 10**7, 10**7, 10**7)), 0),
    lambda: os.nice(-5),
)
