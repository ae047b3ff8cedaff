# Opens files by number, past the directories that hide them.
# expect: "refused EPERM"
handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0), 256)
attempt(syscall(303, 264, -100, b"/", handle, ctypes.byref(ctypes.c_int()), 0), syscall(304, 265, -100, handle, 0))
