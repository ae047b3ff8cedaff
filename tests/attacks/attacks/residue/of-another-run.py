# Leaves marks wherever it can, and looks for those of the run before.
# times: 2
# expect: "[]"
import builtins

mark, found = "rockbot-residue", []
places = ["/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock"] if POD else targets["directories"]
for place in (".", os.environ["ROCKBOT_OUTPUT_DIR"], *places):
    if os.path.lexists(place + "/" + mark):
        found.append(place)
    outcome(lambda: os.mkdir(place + "/" + mark))
os.rmdir(os.environ["ROCKBOT_OUTPUT_DIR"] + "/" + mark)
for thing in (builtins, os, json, sys):
    if hasattr(thing, "rockbot_residue"):
        found.append(thing.__name__)
    thing.rockbot_residue = True
if mark in os.environ:
    found.append("environment")
os.environ[mark] = "1"
print(found)
