# Finds the supervisor's objects in its own memory, which was forked from it, and uses them.
# expect: exit 9, stdout any
import gc, inspect

gc.unfreeze()
for thing in gc.get_objects():
    if type(thing).__name__ == "Supervisor":
        for name in ("send_now", "send", "flush"):
            try:
                getattr(thing, name)(*([0x85] if name == "send_now" else [0x85, b"{}"] if name == "send" else []))
            except BaseException:
                pass
frame_ = inspect.currentframe()
while frame_:
    frame_.f_globals.clear() if frame_.f_globals is not globals() else None
    frame_ = frame_.f_back
import os

os._exit(9)
