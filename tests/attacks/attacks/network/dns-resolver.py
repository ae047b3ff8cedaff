# Has libc look a name up, by whatever way it knows.
# expect pod: "no answer"
try:
    print(socket.getaddrinfo("attack.rockbot.invalid", 80))
except socket.gaierror:
    print("no answer")
