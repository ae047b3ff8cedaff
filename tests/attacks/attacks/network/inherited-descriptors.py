# Looks for a connection that the supervisor left open.
# expect: "[0, 1, 2]\n0 sockets"
numbers = [number for number in range(1024) if libc.fcntl(number, 1) != -1]
print(numbers)
print(sum(os.readlink("/proc/self/fd/%d" % number).startswith("socket:") for number in numbers), "sockets")
