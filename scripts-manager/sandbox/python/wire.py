"""Frames: a big-endian length of four bytes, a type of one, the payload. The script has pipes, and cannot write one."""
import json, os, select, struct, time

PROTOCOL = 2
HELLO, RUN, ACK, INPUT, LAYER = 0x01, 0x02, 0x03, 0x04, 0x05
READY, REFUSED, STDOUT, STDERR, EXIT, FILE, FILE_DATA, LAYER_DONE = range(0x81, 0x89)
CHUNK = 64 << 10
MAX_FRAME = 8 << 20  # That is received: a script, as JSON.
MAX_WAITING = 256 << 10  # Bytes to be sent; whoever makes more of them waits.
GATHER_SECONDS = 0.02  # Output waits so long for more, so that a short script's answer is one write.
DRAIN_SECONDS = 30  # The other end takes nothing for so long: it is gone.


class Gone(Exception):
    """Nobody is at the other end any more, or it does not speak this protocol."""


class Wire:
    """The two streams to whoever holds this process."""

    def __init__(self):
        self.inbox, self.outbox, self.since, self.out = bytearray(), bytearray(), 0.0, 1
        os.set_blocking(self.out, False)

    def fill(self):
        """Takes in what has arrived."""
        data = os.read(0, CHUNK)
        self.inbox += data
        if not data or len(self.inbox) > MAX_FRAME:
            raise Gone

    def frame(self):
        """Type and payload of the next frame, if it is here."""
        if len(self.inbox) < 5:
            return None
        length, kind = struct.unpack_from(">IB", self.inbox)
        if len(self.inbox) < 5 + length:
            return None
        payload = bytes(self.inbox[5 : 5 + length])
        del self.inbox[: 5 + length]
        return kind, payload

    def send(self, kind, payload):
        if not self.outbox:
            self.since = time.monotonic()
        self.outbox += struct.pack(">IB", len(payload), kind) + payload

    def send_now(self, kind, **fields):
        self.send(kind, json.dumps(fields).encode())
        self.drain()

    def is_full(self):
        return len(self.outbox) >= MAX_WAITING

    def due(self):
        """When what waits should be written."""
        return self.since + GATHER_SECONDS if len(self.outbox) < CHUNK else 0.0

    def flush(self):
        """Writes what the other end takes now."""
        try:
            del self.outbox[: os.write(self.out, self.outbox)]
        except BlockingIOError:
            pass
        except OSError:
            raise Gone from None

    def drain(self, left=0):
        """Writes until no more than this is left."""
        while len(self.outbox) > left:
            before = len(self.outbox)
            self.flush()
            if len(self.outbox) == before:
                poll = select.poll()
                poll.register(self.out, select.POLLOUT)
                if not poll.poll(DRAIN_SECONDS * 1000):
                    raise Gone
