# Links somebody's file into the output directory.
# expect: "[]"
os.chdir(os.environ["ROCKBOT_OUTPUT_DIR"])
names = ["/etc/passwd", sys.executable, *targets.get("files", [])]
breaches({name: lambda name=name: (os.link(name, "link"), os.unlink("link")) for name in names})
