# Opens a socket to talk to the hypervisor, without a word to it.
# expect: "refused EPERM"
attempt(*(lambda kind=kind: socket.socket(socket.AF_VSOCK, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)))
