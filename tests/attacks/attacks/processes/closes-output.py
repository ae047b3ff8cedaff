# Closes its output, as if it had ended, and goes on.
# expect: timed out, "begun"
# timeout: 1
print("begun", flush=True)
os.close(1)
os.close(2)
time.sleep(60)
