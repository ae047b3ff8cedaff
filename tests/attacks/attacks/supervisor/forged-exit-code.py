# Has a process that is no child of the script end with another code: CLONE_PARENT makes it the supervisor's child.
# expect: exit 9
numbers = {"x86_64": 56, "aarch64": 220}
pid = libc.syscall(numbers[platform.machine()], 0x8000 | signal.SIGCHLD, 0, 0, 0, 0)
if pid == 0:
    os._exit(0)
time.sleep(0.3)
os._exit(9)
