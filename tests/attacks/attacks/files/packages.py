# Puts something beside the packages that it was given.
# expect: "[]"
places = ["/packages", os.path.join(os.path.dirname(os.environ["ROCKBOT_INPUT_FILE"]), "packages")]
breaches({place: lambda place=place: make(place + "/rockbot-attack") for place in places})
