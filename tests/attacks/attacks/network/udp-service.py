# Sends a datagram to a canary behind a Service.
# expect pod: "refused EPERM"
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"attack", tuple(targets["udp"]["service"])))
