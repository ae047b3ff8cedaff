# Takes memory that not even the kernel sees, and memory that cannot be swapped.
# expect: "refused EPERM\nTrue"
attempt(syscall(447, 447, 0))
area = ctypes.create_string_buffer(1 << 20)
print(outcome(call("mlock", area, 1 << 20)) in ("refused ENOMEM", "refused EPERM", "refused EAGAIN"))
