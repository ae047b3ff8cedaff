# Makes packets of its own: ICMP, and IP without a protocol.
# expect: "refused EPERM"
attempt(*(lambda number=number: socket.socket(socket.AF_INET, socket.SOCK_RAW, number) for number in (1, 255)))
