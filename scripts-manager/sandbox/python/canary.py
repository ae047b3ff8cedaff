"""The canary: a connection that something around this process should stop. Begun before the walls inside go up."""
import _socket, select, time


class Canary:
    """A connection attempt. No byte is sent."""

    def __init__(self, address):
        self.begin, self.socket = time.monotonic(), None
        self.outcome = "unknown"
        if not address:
            return
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        try:
            family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
            self.socket = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
            self.socket.connect((host, int(port)))
            self.outcome = "reached"
        except BlockingIOError:
            pass  # On its way.
        except OSError:
            self.outcome = "blocked" if self.socket else "unknown"

    def result(self, seconds):
        """What became of it within this time since its begin. A packet that is dropped makes no sound."""
        if self.socket and self.outcome == "unknown":
            poll = select.poll()
            poll.register(self.socket, select.POLLOUT)
            left = self.begin + seconds - time.monotonic()
            if poll.poll(max(0.0, left) * 1000):
                failed = self.socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
                self.outcome = "blocked" if failed else "reached"
            elif seconds:
                self.outcome = "blocked"
        if self.socket:
            self.socket.close()
        return self.outcome
