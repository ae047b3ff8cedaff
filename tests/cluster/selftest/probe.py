"""Tries each target once (tcp:HOST:PORT, udp:HOST:PORT or dns:NAME) and prints "TARGET open" or "TARGET blocked".

With --hammer SECONDS it tries the only target again and again from its first instruction on, and writes
"ATTEMPTS OPENED" to the pod's termination message: that is how the first packets of a pod are tested.
"""

import os
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

os.environ["RES_OPTIONS"] = "timeout:1 attempts:1"


def reachable(target, timeout=0.7):
    kind, _, rest = target.partition(":")
    host, _, port = rest.partition(":")
    try:
        if kind == "dns":
            return bool(socket.getaddrinfo(host, 80))
        if kind == "tcp":
            # A refused connection has reached a host too.
            try:
                socket.create_connection((host, int(port)), timeout).close()
            except ConnectionRefusedError:
                pass
            return True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(timeout)
            sock.sendto(b"?", (host, int(port)))
            return sock.recv(16) == b"canary"
    except OSError:
        return False


def hammer(seconds, target):
    attempts = opened = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        attempts += 1
        opened += reachable(target, timeout=0.02)
        time.sleep(0.002)
    with open("/dev/termination-log", "w") as message:
        message.write(f"{attempts} {opened}")


if __name__ == "__main__":
    if sys.argv[1] == "--hammer":
        hammer(float(sys.argv[2]), sys.argv[3])
    else:
        with ThreadPoolExecutor(16) as pool:
            for target, is_open in zip(sys.argv[1:], pool.map(reachable, sys.argv[1:])):
                print(target, "open" if is_open else "blocked")
