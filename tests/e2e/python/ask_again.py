"""Asks for one script over and over with one idempotency key, each time on a connection of its own.

Prints how many pods have run it.
"""
import json, os, urllib.request

headers = {"Authorization": "Bearer " + os.environ["TOKEN"], "Content-Type": "application/json", "Idempotency-Key": "one"}
body, pods = json.dumps({"script": "print(1)"}).encode(), set()
for _ in range(10):
    request = urllib.request.Request(os.environ["URL"], body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        pods.add(json.load(answer)["script_id"])
print(len(pods))
