# Takes over the process that shares its memory and lives until the answer is out, which then writes without end.
# machine: x86_64
# expect: truncated, stdout any, stderr any
# The code is mov eax, SYS_write; mov edi, 1; mov esi, ARGS; mov edx, 2048; syscall; jmp loop
code = machine_code(b"\xb8\1\0\0\0\xbf\1\0\0\0\xbeARGS\xba\0\x08\0\0\x0f\x05\xeb\xe8")
caller = sys._getframe()
while "anchored" not in caller.f_locals:
    caller = caller.f_back
stack = caller.f_globals["anchor_stack"]
# Wherever it returns from what it waits for, it comes to this code. A signal wakes it.
begin, end = ctypes.addressof(stack) + 8192 & ~15, ctypes.addressof(stack) + len(stack) & ~15
ctypes.memmove(begin, struct.pack("=Q", code) * ((end - begin) // 8), end - begin)
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.kill(caller.f_locals["anchored"], signal.SIGINT)
time.sleep(0.2)
