# Connects over IPv6 to an IPv4 canary, as a mapped address.
# expect: "refused EPERM"
def connect(address):
    with socket.socket(socket.AF_INET6) as connection:
        connection.settimeout(2)
        connection.connect(("::ffff:" + address[0], address[1]))


attempt(*(lambda address=address: connect(address) for address in targets["tcp"].values()))
