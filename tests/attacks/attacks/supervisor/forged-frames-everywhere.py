# Writes frames to every descriptor that there is or was.
# expect: exit 9, "wrote to 1, 2"
written, forged = [], frame(0x85, b'{"code": 0}')
for number in range(3, 1024):
    if libc.write(number, forged, len(forged)) != -1:
        written.append(number)
print("wrote to", ", ".join(map(str, [1, 2, *written])))
sys.exit(9)
