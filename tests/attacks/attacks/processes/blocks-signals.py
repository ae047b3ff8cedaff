# Blocks every signal, and sleeps where it cannot be interrupted by one.
# expect: timed out, "begun"
# timeout: 1
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
print("begun", flush=True)
signal.sigtimedwait([], 60)
