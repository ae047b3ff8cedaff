# Fills the kernel's memory with pipes.
# expect: "refused EMFILE"
def bomb():
    for _ in range(2000):
        os.set_blocking(os.pipe()[1], False)


attempt(bomb)
