"""Connects to each target in the JSON object TARGETS, {"name": "address:port"}, and prints what came of it as one line of JSON."""
import json
import os
import socket


def knock(target):
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 2).close()
        return "open"
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return type(error).__name__


print(json.dumps({name: knock(target) for name, target in json.loads(os.environ["TARGETS"]).items()}))
