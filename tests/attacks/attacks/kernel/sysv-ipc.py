# Looks for shared memory, semaphores and messages, which outlive a process, to leave something there.
# expect: "refused EPERM"
attempt(*(call(name, key, *size, 0o600) for name, size in (("shmget", [4096]), ("semget", [1]), ("msgget", [])) for key in (0x524B, 0x524C)))
