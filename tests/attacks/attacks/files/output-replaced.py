# Puts something else where the output directory was.
# expect: "[]"
output = os.environ["ROCKBOT_OUTPUT_DIR"]
breaches({
    "remove": lambda: os.rmdir(output),
    "rename": lambda: os.rename(output, "mine"),
    "replace": lambda: (os.mkdir("own"), os.replace("own", output)),
})
