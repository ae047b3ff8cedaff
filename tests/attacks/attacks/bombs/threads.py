# Starts threads until it cannot.
# expect pod: "refused"
# expect local: stdout any
import threading

stop = threading.Event()
try:
    for _ in range(300):
        threading.Thread(target=stop.wait, daemon=True).start()
    print("300 threads")
except RuntimeError:
    print("refused")
stop.set()
