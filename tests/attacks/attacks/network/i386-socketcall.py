# Opens a socket as a 32-bit program would, in numbers that mean something else to the filter.
# machine: x86_64
# expect: signal 31
# push rbx; mov ebx, SYS_SOCKET; mov ecx, ARGS; mov eax, socketcall; int 0x80; pop rbx; ret
code = b"\x53\xbb\1\0\0\0\xb9ARGS\xb8\x66\0\0\0\xcd\x80\x5b\xc3"
print("descriptor", ctypes.CFUNCTYPE(ctypes.c_int)(machine_code(code, socket.AF_INET, socket.SOCK_STREAM, 0))())
