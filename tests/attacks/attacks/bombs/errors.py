# Prints errors without end, and from many processes.
# expect: timed out, truncated, stdout any, stderr any
# timeout: 2
for _ in range(3):
    os.fork()
while True:
    print("x" * 100_000, file=sys.stderr)
