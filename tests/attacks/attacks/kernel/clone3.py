# Makes namespaces with the call whose flags no filter sees.
# expect: "refused ENOSYS"
arguments = struct.pack("=11Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)
attempt(syscall(435, 435, arguments, len(arguments)))
