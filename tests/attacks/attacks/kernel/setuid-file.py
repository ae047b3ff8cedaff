# Leaves a program that runs as its owner for whoever comes.
# expect: "0o0"
open("program", "w").close()
for change in (lambda: os.chmod("program", 0o4755), lambda: os.chmod("program", 0o2755)):
    outcome(change)
print(oct(os.stat("program").st_mode & 0o6000))
