# Has the node write all its dirty pages, again and again.
# expect: "refused EPERM"
attempt(syscall(162, 81), syscall(306, 267, os.open(".", os.O_RDONLY)))
