# Writes a frame that says it ended well, and ends badly.
# expect: exit 9, "\u0000\u0000\u0000\u000b\ufffd{\"code\": 0}"
sys.stdout.flush()
os.write(1, frame(0x85, b'{"code": 0}'))
os._exit(9)
