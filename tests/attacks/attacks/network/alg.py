# Opens the kernel's cipher sockets, an old source of exploits.
# expect: "refused EPERM"
attempt(lambda: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET).bind(("hash", "sha256")))
