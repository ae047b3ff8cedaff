# Has the supervisor hand out files that are not the script's: links out of the output directory, by name and by `..`.
# expect: dropped "absolute", dropped "directory", dropped "relative", dropped "input", "done"
os.chdir(os.environ["ROCKBOT_OUTPUT_DIR"])
os.symlink("/etc/passwd", "absolute")
os.symlink("../../../../../../../../etc/passwd", "relative")
os.symlink("/etc", "directory")
os.symlink(os.environ["ROCKBOT_INPUT_FILE"], "input")
print("done")
