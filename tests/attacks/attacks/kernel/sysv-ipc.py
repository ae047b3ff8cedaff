# Looks for shared memory, semaphores and messages, which outlive a process, to leave something there.
# expect: "refused EPERM"
calls = [("shmget", 4096), ("semget", 1), ("msgget",)]
attempt(*(call(name, key, *size, 0o600) for name, *size in calls for key in (0x524B, 0x524C)))
