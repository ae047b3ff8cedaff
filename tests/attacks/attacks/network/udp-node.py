# Sends a datagram to a canary on the node's address.
# expect pod: "refused EPERM"
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"attack", tuple(targets["udp"]["node"])))
