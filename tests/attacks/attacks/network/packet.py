# Reads and writes the frames of the network card.
# expect: "refused EPERM"
attempt(*(lambda kind=kind: socket.socket(socket.AF_PACKET, kind, 0x300) for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM)))
