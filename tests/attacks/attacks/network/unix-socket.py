# Connects to a service of the machine that listens on a file.
# expect local: "refused EPERM"
attempt(
    lambda: socket.socket(socket.AF_UNIX).connect(targets["unix"]),
    lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"attack", targets["unix_datagram"]),
)
