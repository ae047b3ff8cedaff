# Goes through a link in the middle of a path, and around in circles.
# expect: dropped "a/b", dropped "loop", file "a/file" "mine", "done"
os.chdir(os.environ["ROCKBOT_OUTPUT_DIR"])
os.mkdir("a")
os.symlink("..", "a/b")
os.symlink("loop", "loop")
with open("a/file", "w") as file:
    file.write("mine")
print("done")
