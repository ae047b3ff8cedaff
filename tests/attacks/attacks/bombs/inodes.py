# Makes empty files: they take no room of the file system's, but memory, which ends. A small bomb on one machine.
# expect pod: out of memory, signal 9
# expect local: "2000 files"
# timeout: 60
most = 1_000_000 if POD else 2000
for number in range(most):
    os.mknod("f%d" % number)
print(most, "files")
