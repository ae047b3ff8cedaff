# Kills the supervisor by thread, by queue, by descriptor, and by a signal that a file sends.
# expect: "refused EPERM\nalive"
import fcntl

parent, information = os.getppid(), ctypes.create_string_buffer(struct.pack("=iii", 15, 0, -1), 128)
attempts = [syscall(200, 130, parent, 15), syscall(234, 131, parent, parent, 15)]
attempts.append(syscall(129, 138, parent, 15, information))
if hasattr(os, "pidfd_open"):
    attempts.append(lambda: signal.pidfd_send_signal(os.pidfd_open(parent), 15))
attempt(*attempts)
read, write = os.pipe()
try:
    fcntl.fcntl(read, fcntl.F_SETOWN, parent)
    fcntl.fcntl(read, 10, signal.SIGTERM)  # F_SETSIG
    fcntl.fcntl(read, fcntl.F_SETFL, fcntl.fcntl(read, fcntl.F_GETFL) | os.O_ASYNC)
    os.write(write, b"attack")
except OSError:
    pass
time.sleep(0.2)
print("alive")
