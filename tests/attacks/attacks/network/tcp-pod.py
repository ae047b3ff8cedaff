# Connects to a canary in the pod network.
# expect pod: "refused EPERM"
attempt(lambda: socket.create_connection(targets["tcp"]["pod"], 2))
