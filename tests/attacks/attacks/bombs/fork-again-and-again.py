# Each process forks two and goes on, so that whoever kills them one by one is too late.
# expect pod: timed out, stdout any
# timeout: 2
while True:
    try:
        os.fork()
    except OSError:
        pass
