# Gives the parser what makes it work for ever.
# expect: "refused"
try:
    compile("(" * 10**6, "bomb", "eval")
except (MemoryError, RecursionError, SyntaxError):
    print("refused")
