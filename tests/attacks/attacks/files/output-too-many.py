# Hands out more files than anybody wants to see.
# expect: files any, "done"
os.chdir(os.environ["ROCKBOT_OUTPUT_DIR"])
for number in range(5000):
    open("file-%d" % number, "w").close()
print("done")
