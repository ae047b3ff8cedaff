# Connects to a canary behind a Service.
# expect pod: "refused EPERM"
attempt(lambda: socket.create_connection(targets["tcp"]["service"], 2))
