# Overflows the stack of the interpreter.
# expect: signal 11
# expect: exit 1, stderr any
sys.setrecursionlimit(1 << 30)
nested = []
for _ in range(1_000_000):
    nested = [nested]
repr(nested)
