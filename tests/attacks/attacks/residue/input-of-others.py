# Looks for the input of others: beside its own, in its memory, in its parents.
# expect: "True\n[]"
here = os.path.dirname(os.environ["ROCKBOT_INPUT_FILE"])
with open(os.environ["ROCKBOT_INPUT_FILE"]) as file:
    print(json.load(file) == targets)
names = set(os.listdir(here)) - {os.path.basename(path) for path in (os.environ["ROCKBOT_INPUT_FILE"], os.environ["ROCKBOT_OUTPUT_DIR"], os.environ["HOME"])}
print(sorted(names - {"packages"}))
