# Speaks protocols that filters forget: MPTCP, SCTP, DCCP, UDP-Lite.
# expect: "refused EPERM"
kinds = {262: socket.SOCK_STREAM, 132: socket.SOCK_SEQPACKET, 33: 6, 136: socket.SOCK_DGRAM}
attempt(*(lambda number=number: socket.socket(socket.AF_INET, kinds[number], number) for number in kinds))
