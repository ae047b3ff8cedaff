# Uses the processor without end.
# expect: timed out, stdout any
# timeout: 1
while True:
    pass
