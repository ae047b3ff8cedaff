# Makes a pair of sockets that could send to any path.
# expect local: "refused EPERM"
kinds = (socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET)
attempt(*(lambda kind=kind: socket.socketpair(socket.AF_UNIX, kind) for kind in kinds))
