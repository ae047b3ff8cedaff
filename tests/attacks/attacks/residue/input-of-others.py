# Looks for the input of others: beside its own, in its memory, in its parents.
# expect: "True\n[]"
here = os.path.dirname(os.environ["ROCKBOT_INPUT_FILE"])
with open(os.environ["ROCKBOT_INPUT_FILE"]) as file:
    print(json.load(file) == targets)
own = {os.path.basename(os.environ[name]) for name in ("ROCKBOT_INPUT_FILE", "ROCKBOT_OUTPUT_DIR", "HOME")}
print(sorted(set(os.listdir(here)) - own - {"packages"}))
