"""Reaches everything that the JSON object ROCKBOT_INPUT names, and ends badly if something is in the way.

{"tcp": {NAME: [ADDRESS, PORT]}, "udp": {…}, "dns": [ADDRESS, PORT], "api": [ADDRESS, PORT]}; all but the last are canaries.
"""
import json
import os
import socket

SECONDS = 5
targets = json.loads(os.environ["ROCKBOT_INPUT"])


def answers(address):
    """A datagram to a Service that is new may be lost."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(1)
        for _ in range(SECONDS):
            udp.sendto(b"ping", tuple(address))
            try:
                return udp.recv(64) == b"canary"
            except TimeoutError:
                pass
    return False


for address in targets["tcp"].values():
    with socket.create_connection(address, SECONDS) as connection:
        assert connection.recv(64) == b"canary", address
for address in [*targets["udp"].values(), targets["dns"]]:
    assert answers(address), address
socket.create_connection(targets["api"], SECONDS).close()
