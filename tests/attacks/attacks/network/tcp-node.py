# Connects to a canary on the node's address.
# expect pod: "refused EPERM"
attempt(lambda: socket.create_connection(targets["tcp"]["node"], 2))
