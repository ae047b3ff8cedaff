# Talks to the kernel about routes, firewall, devices and audit.
# expect: "refused EPERM"
attempt(*(lambda number=number: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, number) for number in (0, 9, 12, 15, 16)))
