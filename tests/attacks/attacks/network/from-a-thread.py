# Tries from a thread and from a forked process.
# expect: "refused EPERM\nrefused EPERM"
import threading

thread = threading.Thread(target=attempt, args=(lambda: socket.socket(),))
thread.start()
thread.join()
if os.fork() == 0:
    attempt(lambda: socket.socket())
    sys.stdout.flush()
    os._exit(0)
os.wait()
