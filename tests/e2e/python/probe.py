"""Tries to reach a canary by TCP and UDP and a DNS server, and prints what came of it as one line of JSON.

The targets are JSON in ROCKBOT_INPUT: {"canary": IP, "dns": IP}, with "name" to look up. Runs in a script's sandbox and in ordinary pods alike.
"""
import json
import os
import socket
import struct

SECONDS = 2
targets = json.loads(os.environ["ROCKBOT_INPUT"])


def tcp():
    with socket.create_connection((targets["canary"], 7001), SECONDS) as connection:
        return connection.recv(64) == b"canary"


def ask(address, question):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(SECONDS)
        udp.sendto(question, address)
        return udp.recv(512)


def udp():
    return ask((targets["canary"], 7002), b"ping") == b"canary"


def dns():
    labels = b"".join(bytes([len(part)]) + part.encode() for part in targets["name"].split("."))
    question = struct.pack(">HHHHHH", 0x5252, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
    return ask((targets["dns"], 53), question)[:2] == b"RR"


def attempt(reach):
    try:
        return "open" if reach() else "strange answer"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


print(json.dumps({reach.__name__: attempt(reach) for reach in (tcp, udp, dns)}))
