# Leaves a socket for the supervisor to open.
# expect pod: dropped "socket", "done"
server = socket.socket(socket.AF_UNIX)
server.bind(os.environ["ROCKBOT_OUTPUT_DIR"] + "/socket")
print("done")
