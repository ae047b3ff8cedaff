# Makes directories so deep that their path is too long for whoever removes them.
# expect: "3000 deep"
for _ in range(3000):
    os.mkdir("d")
    os.chdir("d")
print("3000 deep")
