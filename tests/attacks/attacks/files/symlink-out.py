# Reads and writes the user's file through symbolic and hard links.
# expect local: "[]"
secret = targets["files"][0]
os.symlink(secret, "soft")
breaches({
    "read": lambda: open("soft").read(),
    "write": lambda: open("soft", "a").write("attack"),
    "hard": lambda: os.link(secret, "hard"),
    "hard through soft": call("linkat", -100, b"soft", -100, b"hard", 0x400),
    "replace": lambda: os.replace("soft", secret),
    "take": lambda: os.rename(secret, "mine"),
    "remove": lambda: os.unlink(secret),
    "truncate": lambda: os.truncate(secret, 0),
    "through /proc": lambda: open("/proc/self/root" + secret).read(),
    "beside": lambda: os.symlink("x", os.path.dirname(secret) + "/link"),
})
