# Leaves a file and a directory that cannot be read.
# expect pod: dropped "file", dropped "directory", "done"
os.chdir(os.environ["ROCKBOT_OUTPUT_DIR"])
os.mkdir("directory")
for name in ("file", "directory/file"):
    open(name, "w").close()
os.chmod("file", 0)
os.chmod("directory", 0)
print("done")
