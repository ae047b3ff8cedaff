"""Asks an agent over and over, on a new connection each time, and prints one line for each answer: `ok` or what went wrong.

The URL and the request are in URL and BODY, seconds between two requests in PAUSE. It goes on until it is stopped.
"""
import os
import time
import urllib.request

request_of = lambda: urllib.request.Request(
    os.environ["URL"], os.environ["BODY"].encode(), {"content-type": "application/json"}
)
while True:
    try:
        with urllib.request.urlopen(request_of(), timeout=60) as answer:
            text = answer.read().decode()
        print("ok" if os.environ["EXPECT"] in text else f"strange answer: {text}", flush=True)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
    time.sleep(float(os.environ["PAUSE"]))
