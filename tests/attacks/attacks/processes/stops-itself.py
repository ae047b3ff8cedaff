# Stops, so that it never ends.
# expect: timed out, "begun"
# timeout: 1
print("begun", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
