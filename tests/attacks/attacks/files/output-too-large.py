# Hands out a file that is larger than it may be, and costs nothing: a hole.
# expect: dropped "hole", file "small" "kept", "done"
os.chdir(os.environ["ROCKBOT_OUTPUT_DIR"])
with open("hole", "wb") as file:
    file.truncate(200 << 20)
with open("small", "w") as file:
    file.write("kept")
print("done")
