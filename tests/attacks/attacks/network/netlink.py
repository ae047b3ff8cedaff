# Talks to the kernel about routes, firewall, devices and audit.
# expect: "refused EPERM"
def netlink(protocol):
    return lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)


attempt(*map(netlink, (0, 9, 12, 15, 16)))
