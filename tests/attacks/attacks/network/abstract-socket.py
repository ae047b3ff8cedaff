# Connects to a service of the machine that listens on a name without a file.
# expect local: "refused EPERM"
attempt(lambda: socket.socket(socket.AF_UNIX).connect("\0" + targets["abstract"]))
