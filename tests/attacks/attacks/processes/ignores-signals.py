# Ignores every signal that can be ignored, and sleeps.
# expect: timed out, "begun"
# timeout: 1
for number in range(1, 32):
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_IGN)
print("begun", flush=True)
time.sleep(60)
