# Connects to a service of the machine that the script runs on.
# expect local: "refused EPERM"
attempt(
    lambda: socket.create_connection(targets["tcp"]["loopback"], 2),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"attack", tuple(targets["udp"]["loopback"])),
)
