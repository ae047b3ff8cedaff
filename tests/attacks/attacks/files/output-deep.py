# Hands out a file at the end of a path that is too long.
# expect: files any, "done"
os.chdir(os.environ["ROCKBOT_OUTPUT_DIR"])
for _ in range(500):
    os.mkdir("d" * 20)
    os.chdir("d" * 20)
open("file", "w").close()
print("done")
