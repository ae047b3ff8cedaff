# Sends an echo request through an unprivileged ping socket.
# expect: "refused EPERM"
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP))
