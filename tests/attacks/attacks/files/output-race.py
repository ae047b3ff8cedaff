# Swaps a file and a link all the time, so that the supervisor looks at one and opens the other.
# expect: "done", files any
os.chdir(os.environ["ROCKBOT_OUTPUT_DIR"])
os.symlink("/etc/passwd", "link")
end = time.monotonic() + 10
for number in range(3):
    if os.fork() == 0:
        os.setsid()
        while time.monotonic() < end:
            with open("mine%d" % number, "w") as file:
                file.write("mine")
            os.replace("mine%d" % number, "file")
            os.symlink("/etc/passwd", "theirs%d" % number)
            os.replace("theirs%d" % number, "file")
time.sleep(0.2)
print("done")
