# Opens files until it cannot.
# expect: "refused EMFILE"
def bomb():
    for _ in range(2000):
        os.open("/dev/null", os.O_RDONLY)


attempt(bomb)
