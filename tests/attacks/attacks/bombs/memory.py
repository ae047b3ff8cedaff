# Takes memory until there is none.
# expect pod: out of memory, signal 9
taken = []
for _ in range(4096):
    taken.append(b"x" * (1 << 20))
