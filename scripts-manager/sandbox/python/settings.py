"""Runs one script, given by whoever holds the other end of stdin and stdout, and ends.

Started as `python3 -I -S -u -c SOURCE pod|local NAME=VALUE…`: as the first process of a pod, or as a child process on
one machine. It takes every right away from itself, tries what must fail now, forks the process that will run the
script, and waits. These files are its source, one after the other: what it was told, the canary, the walls, the
script's process, packages, files, memory, frames, and the supervisor that puts all of it together.
"""
import os, sys

LOCAL = sys.argv[1] == "local"
SETTINGS = {
    "walls": "strict",  # Or "baseline": go without a wall that is missing, and say so.
    "seccomp": "on",  # Or "off", to test the other walls.
    "canary": "",  # ADDRESS:PORT that should be out of reach.
    "preload": "",  # Modules to import once packages are there, separated by commas.
    **dict(setting.split("=", 1) for setting in sys.argv[2:]),
}
# The directory in which this process was started is the sandbox's own.
ROOT = os.getcwd()
HOME, INPUT_FILE, OUTPUT = (os.path.join(ROOT, name) for name in ("home", "input", "output"))
PACKAGES = os.path.join(ROOT, "packages") if LOCAL else "/packages"
