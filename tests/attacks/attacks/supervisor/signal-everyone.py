# Kills everyone whom it may kill.
# expect pod: "still here"
os.kill(-1, signal.SIGKILL)
print("still here")
