# Becomes another program, which leaves a third in the background.
# expect: exit 5, "shell"
sys.stdout.flush()
os.execv("/bin/sh", ["sh", "-c", "(sleep 5; echo late) & echo shell; exit 5"])
