# Asks the DNS server, which would pass a name on to anybody.
# expect: "refused EPERM"
question = struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\6attack\7rockbot\0\0\1\0\1"
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(question, tuple(targets["dns"])))
