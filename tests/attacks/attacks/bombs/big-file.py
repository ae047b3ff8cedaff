# Writes a file that is larger than it may be.
# expect: "refused EFBIG"
# expect: "refused ENOSPC"
def bomb():
    with open("big", "wb") as file:
        file.truncate((256 << 20) + 1)


attempt(bomb)
