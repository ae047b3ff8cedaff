# Leaves a file whose opening never ends.
# expect: dropped "pipe", "done"
os.mkfifo(os.environ["ROCKBOT_OUTPUT_DIR"] + "/pipe")
print("done")
