# Copies the supervisor's stdout with pidfd_getfd.
# expect: "refused EPERM"
pidfd = os.pidfd_open(os.getppid()) if hasattr(os, "pidfd_open") else -1
attempt(syscall(438, 438, pidfd, 1, 0))
