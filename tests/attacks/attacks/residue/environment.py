# Looks for somebody's keys in the environment, its own and the one that it was started with.
# expect: "[]\n[]"
# The kubelet tells every pod where the API server is; nothing there is secret, and no way leads there.
known = {"HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PWD", "TMPDIR", "TZ"}
known |= {"ROCKBOT_INPUT", "ROCKBOT_INPUT_FILE", "ROCKBOT_OUTPUT_DIR"}
print(sorted(set(os.environ) - known))
with open("/proc/self/environ", "rb") as file:
    old = {entry.partition(b"=")[0].decode() for entry in file.read().split(b"\0") if entry}
print(sorted(name for name in old if any(word in name for word in ("KEY", "TOKEN", "SECRET", "PASSWORD", "CARGO"))))
