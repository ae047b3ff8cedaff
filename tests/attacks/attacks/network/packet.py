# Reads and writes the frames of the network card.
# expect: "refused EPERM"
def packet(kind):
    return lambda: socket.socket(socket.AF_PACKET, kind, 0x300)


attempt(packet(socket.SOCK_RAW), packet(socket.SOCK_DGRAM))
