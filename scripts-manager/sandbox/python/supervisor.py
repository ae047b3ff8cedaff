"""Runs one script, given by whoever holds the other end of stdin and stdout, and ends.

Started as `python3 -I -S -u -c SOURCE pod|local [no-seccomp]`: as the first process of a pod, or as a child process on
one machine. It takes every right away from itself, tries what must fail now, forks the process that will run the
script, and waits. Only this process writes frames; the script has pipes. It is silent until the hello frame, because
an attached stdout repeats nothing that was said before.
"""
import contextlib, json, os, select, signal, struct, sys, time

PROTOCOL = 1
HELLO, RUN, ACK = 0x01, 0x02, 0x03
READY, REFUSED, STDOUT, STDERR, EXIT = 0x81, 0x82, 0x83, 0x84, 0x85
MAX_FRAME = 8 << 20
HELLO_SECONDS = 60  # Nobody attached for so long: whoever started this process is gone.
PARK_SECONDS = 3600  # Far beyond the age at which a manager replaces a parked process.
ACK_SECONDS = 5
END_SECONDS = 2  # For killed processes to be gone.
GATHER_SECONDS = 0.02  # Output waits so long for more, so that a short script's answer is one write.
CHUNK = 64 << 10
SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)


class Gone(Exception):
    """Nobody is at the other end any more, or it does not speak this protocol."""


class Supervisor:
    """One script process and the frames about it, in one loop over descriptors."""

    def __init__(self):
        self.inbox, self.outbox, self.since = bytearray(), bytearray(), 0.0
        self.child, self.status, self.usage, self.terminated = None, None, None, False
        self.output, self.sizes, self.room, self.truncated = {}, {STDOUT: 0, STDERR: 0}, 0, False
        # A signal is a byte in a pipe.
        self.signals, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)
        os.set_blocking(1, False)

    def start(self):
        """Forks the script process and waits until it is ready for a script."""
        task, parked, out, err = os.pipe(), os.pipe(), os.pipe(), os.pipe()
        self.child = os.fork()
        if self.child == 0:
            try:
                script_process(task[0], parked[1], out[1], err[1])
            finally:
                os._exit(1)
        for descriptor in (task[0], parked[1], out[1], err[1]):
            os.close(descriptor)
        self.task, self.output = task[1], {out[0]: STDOUT, err[0]: STDERR}
        for descriptor in self.output:
            os.set_blocking(descriptor, False)
        if os.read(parked[0], 1) != b".":
            raise RuntimeError("the script process does not start")
        os.close(parked[0])

    def send(self, kind, payload):
        if not self.outbox:
            self.since = time.monotonic()
        self.outbox += struct.pack(">IB", len(payload), kind) + payload

    def send_now(self, kind, **fields):
        self.send(kind, json.dumps(fields).encode())
        self.since, until = 0.0, time.monotonic() + ACK_SECONDS
        self.flush()
        while self.outbox and time.monotonic() < until:
            self.wait(until)

    def wait(self, until):
        """Takes in whatever happens next, and returns by the time `until`."""
        poll = select.poll()
        for descriptor in (0, self.signals, *self.output):
            poll.register(descriptor, select.POLLIN)
        if self.outbox:
            due = self.since + GATHER_SECONDS if len(self.outbox) < CHUNK else 0.0
            if time.monotonic() >= due:
                poll.register(1, select.POLLOUT)
            else:
                until = min(until, due)
        for descriptor, _ in poll.poll(max(0.0, until - time.monotonic()) * 1000 + 1):
            if descriptor == 0:
                self.receive()
            elif descriptor == 1:
                self.flush()
            elif descriptor == self.signals:
                self.terminated |= any(number != signal.SIGCHLD for number in os.read(self.signals, 512))
                self.reap()
            else:
                self.relay(descriptor)

    def receive(self):
        data = os.read(0, CHUNK)
        self.inbox += data
        if not data or len(self.inbox) > MAX_FRAME:
            raise Gone

    def flush(self):
        try:
            del self.outbox[: os.write(1, self.outbox)]
        except BlockingIOError:
            pass
        except OSError:
            raise Gone from None

    def relay(self, descriptor):
        """Frames what the script wrote. False when there is nothing to read now."""
        try:
            data = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            os.close(descriptor)
            del self.output[descriptor]
            return False
        kind, kept = self.output[descriptor], data[: self.room]
        self.truncated |= len(kept) < len(data)
        self.room -= len(kept)
        self.sizes[kind] += len(kept)
        if kept:
            self.send(kind, kept)
        return True

    def reap(self):
        """Collects what ended, orphans too. False while a process is left."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return False
                if pid == self.child:
                    self.status, self.usage = status, usage
        return True

    def expect(self, kind, seconds):
        """The payload of the next frame, which must be of this kind."""
        until = time.monotonic() + seconds
        while True:
            if len(self.inbox) >= 5:
                length, found = struct.unpack_from(">IB", self.inbox)
                if found != kind:
                    raise Gone
                if len(self.inbox) >= 5 + length:
                    payload = bytes(self.inbox[5 : 5 + length])
                    del self.inbox[: 5 + length]
                    return payload
            parked = kind != ACK
            if time.monotonic() >= until or (parked and (self.terminated or self.status is not None)):
                raise Gone
            self.wait(until)

    def run(self, payload):
        """Hands the script over, relays what it writes, and reports how it ended."""
        begin = time.monotonic()
        request = json.loads(payload)
        deadline, self.room = begin + request["timeout_ms"] / 1000, request["max_output_bytes"]
        warm_up = time.clock_gettime(~self.child << 3 | 2)  # The child's CPU time so far.
        with contextlib.suppress(BrokenPipeError), open(self.task, "wb", buffering=0) as channel:
            while payload:
                payload = payload[channel.write(payload) :]
        timed_out = False
        while self.status is None:
            timed_out |= time.monotonic() >= deadline
            if timed_out or self.terminated:
                os.kill(self.child, signal.SIGKILL)
                deadline = time.monotonic() + END_SECONDS
            self.wait(deadline)
        duration = time.monotonic() - begin
        self.end_everyone()
        for descriptor in list(self.output):
            while self.relay(descriptor):
                pass
        code = os.waitstatus_to_exitcode(self.status)
        self.send_now(
            EXIT,
            code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            timed_out=timed_out,
            terminated=self.terminated,
            truncated=self.truncated,
            duration_ms=round(duration * 1000),
            cpu_ms=round(max(0, self.usage.ru_utime + self.usage.ru_stime - warm_up) * 1000),
            max_rss_kb=self.usage.ru_maxrss,
            stdout_bytes=self.sizes[STDOUT],
            stderr_bytes=self.sizes[STDERR],
        )

    def end_everyone(self):
        """Ends every process that the script left behind."""
        until = time.monotonic() + END_SECONDS
        while not self.reap() and time.monotonic() < until:
            for pid in [-1] if os.getpid() == 1 else children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.0005)


def children():
    """Children of this process, orphans that came to it included."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open("/proc/%s/stat" % entry, "rb") as stat:
            if int(stat.read().rpartition(b")")[2].split()[1]) == os.getpid():
                yield int(entry)


def main():
    if os.getpid() != 1:  # Signals to a terminal's processes stay away; orphans come here.
        with contextlib.suppress(PermissionError):
            os.setsid()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    supervisor, reason = Supervisor(), None
    try:
        harden()
        reason = missing_wall()
        if reason is None:
            supervisor.start()
    except Exception as error:
        reason = "%s: %s" % (type(error).__name__, error)
    try:
        supervisor.expect(HELLO, HELLO_SECONDS)
        if reason is None:
            walls = ["no_new_privs", "non_dumpable", "rlimits", "capabilities"] + ["seccomp"] * SECCOMP
            supervisor.send_now(READY, protocol=PROTOCOL, python=sys.version.split()[0], walls=walls)
            supervisor.run(supervisor.expect(RUN, PARK_SECONDS))
        else:
            supervisor.send_now(REFUSED, reason=reason)
        supervisor.expect(ACK, ACK_SECONDS)
    except Gone:
        pass
    supervisor.end_everyone()
    os._exit(0)


main()
