# Hands out files whose names would mislead: control characters, bytes that are no text, dots.
# expect: files any, "done"
os.chdir(os.environ["ROCKBOT_OUTPUT_DIR"].encode())
for name in (b"a\nb", b"\x1b[2J", b"\xff\xfe", b"...", b"x" * 255, b"-rf", "\u202egpj.exe".encode()):
    open(name, "w").close()
print("done")
