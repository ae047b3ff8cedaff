# Makes empty files until it cannot or its time is over. A small bomb on one machine.
# expect pod: stdout any
# expect pod: timed out, stdout any
# expect pod: out of memory, signal 9, stdout any
# expect pod: error sandbox_lost
# expect local: "2000 files"
# timeout: 10
most = 10_000_000 if POD else 2000
for number in range(most):
    try:
        os.close(os.open("f%d" % number, os.O_CREAT | os.O_WRONLY))
    except OSError as error:
        print("refused", errno.errorcode[error.errno])
        break
else:
    print(most, "files")
