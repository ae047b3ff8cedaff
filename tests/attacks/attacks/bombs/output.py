# Prints without end.
# expect: timed out, truncated, stdout any
# timeout: 2
while True:
    print("x" * 100_000)
