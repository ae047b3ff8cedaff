# Connects to the Kubernetes API, and looks for a token to show it.
# expect pod: "refused EPERM\n[]"
attempt(lambda: socket.create_connection(targets["api"], 2))
places = ["/var/run/secrets", "/run/secrets", "/var/run/secrets/kubernetes.io/serviceaccount/token"]
breaches({place: lambda place=place: os.stat(place) for place in places})
