"""The supervisor: one script process and the frames about it, in one loop over descriptors.

It is silent until the hello frame, because an attached stdout repeats nothing that was said before.
"""
import contextlib, json, os, select, signal, time

PARK_SECONDS = 3600  # Far beyond the age at which a manager replaces a parked process.
PIECE_SECONDS = 60  # For the next piece of something that has begun to arrive.
END_SECONDS = 2  # For killed processes to be gone.
ANCHOR_SECONDS = 0.04  # That an anchor outlives its script: the answer is on its way, and others' scripts may be running.
ACK_SECONDS = 5
MAX_VARIABLE = 127 << 10  # Linux refuses an environment variable beyond 128 KiB.


class Supervisor:
    def __init__(self):
        self.wire, self.kills, self.terminated = Wire(), KillCount(), False
        self.script, self.input, self.input_file = None, None, None
        self.listed = None  # The kernel's list of this process's children; not every kernel has it.
        with contextlib.suppress(OSError):
            self.listed = os.open("/proc/self/task/%d/children" % os.getpid(), os.O_RDONLY | os.O_CLOEXEC)
        # A signal is a byte in a pipe.
        self.signals, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)

    def start(self):
        """Forks the script's process, and does all that follows once with another, for the memory to be there."""
        import_common()
        self.script = Script(script_process)
        self.script.prepare()
        parked, self.script, self.wire.out = self.script, Script(rehearsal_process), os.open("/dev/null", os.O_WRONLY)
        self.follow(json.dumps({"script": "", "timeout_ms": 1000, "max_output_bytes": 9}).encode())
        self.report(0)
        os.close(self.wire.out)
        self.script, self.wire.out = parked, 1

    def serve(self):
        """Takes in what belongs to the script, runs it, and tells how it ended. The reason when it will run none."""
        while True:
            kind, payload = self.next_frame(PARK_SECONDS)
            if kind == RUN:
                self.follow(payload)
                self.end_everyone(spared=self.script.anchor)
                self.report(json.loads(payload)["max_files_bytes"])
                return None
            if kind == INPUT:
                self.take_input(payload)
            elif kind == LAYER:
                try:
                    self.install(payload)
                except Refused as error:
                    return str(error)
            else:
                raise Gone

    def next_frame(self, seconds, parked=True):
        """Type and payload. A parked process that was told to end, or whose script's process ended, waits no longer."""
        until = time.monotonic() + seconds
        while True:
            frame = self.wire.frame()
            if frame:
                return frame
            over = self.terminated or (self.script and self.script.status is not None)
            if time.monotonic() >= until or (parked and over):
                raise Gone
            self.wait(until)

    def wait(self, until):
        """Takes in whatever happens next, and returns by the time `until`."""
        wire, poll = self.wire, select.poll()
        poll.register(0, select.POLLIN)
        poll.register(self.signals, select.POLLIN)
        if self.script and not wire.is_full():
            for descriptor in self.script.output:
                poll.register(descriptor, select.POLLIN)
        if wire.outbox:
            if time.monotonic() >= wire.due():
                poll.register(wire.out, select.POLLOUT)
            else:
                until = min(until, wire.due())
        for descriptor, _ in poll.poll(max(0.0, until - time.monotonic()) * 1000 + 1):
            if descriptor == 0:
                wire.fill()
            elif descriptor == self.signals:
                self.terminated |= any(number != signal.SIGCHLD for number in os.read(self.signals, 512))
                self.reap()
            elif descriptor == wire.out:
                wire.flush()
            else:
                self.relay(descriptor)

    def relay(self, descriptor):
        """Frames what the script wrote. False when there is nothing to read now."""
        script = self.script
        try:
            data = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            os.close(descriptor)
            del script.output[descriptor]
            return False
        kind, kept = script.output[descriptor], data[: script.room]
        script.truncated |= len(kept) < len(data)
        script.room -= len(kept)
        script.sizes[kind] += len(kept)
        if kept:
            self.wire.send(kind, kept)
        return True

    def reap(self):
        """Collects what ended, orphans too. False while a process is left."""
        with contextlib.suppress(ChildProcessError):
            while True:
                process, status, usage = os.wait4(-1, os.WNOHANG)
                if process == 0:
                    return False
                if process == self.script.process:
                    self.script.status, self.script.usage = status, usage
        return True

    def take_input(self, piece):
        """Keeps a piece of the script's input in its file, and all of it for a variable while it fits."""
        if self.input_file is None:
            self.input, self.input_file = bytearray(), open(INPUT_FILE, "wb", buffering=0)
        self.input_file.write(piece)
        if len(self.input) <= MAX_VARIABLE:
            self.input += piece

    def install(self, piece):
        """Unpacks packages for the script."""
        pieces = self.pieces(piece)
        try:
            done = unpack(pieces, PACKAGES)
        finally:
            for _ in pieces:  # The other end listens once it has sent everything.
                pass
        self.script.prepare(PACKAGES, [name for name in SETTINGS["preload"].split(",") if name])
        self.wire.send_now(LAYER_DONE, **done)

    def pieces(self, piece):
        while piece:
            yield piece
            kind, piece = self.next_frame(PIECE_SECONDS)
            if kind != LAYER:
                raise Gone

    def follow(self, payload):
        """Hands the script over and relays what it writes, until its end."""
        script, self.begin, self.timed_out, script.truncated = self.script, time.monotonic(), False, False
        self.warm_up = script.cpu_seconds()
        fits = self.input is not None and len(self.input) <= MAX_VARIABLE and 0 not in self.input
        script.tell(payload, self.input if fits else None)
        request = json.loads(payload)
        deadline, script.room = self.begin + request["timeout_ms"] / 1000, request["max_output_bytes"]
        while script.status is None:
            self.timed_out |= time.monotonic() >= deadline
            if self.timed_out or self.terminated:
                os.kill(script.process, signal.SIGKILL)
                deadline = time.monotonic() + END_SECONDS
            self.wait(deadline)
        self.duration = time.monotonic() - self.begin

    def report(self, files_room):
        """Sends the rest of the output, the files, and how the script ended."""
        script, wire = self.script, self.wire
        for descriptor in list(script.output):
            while self.relay(descriptor):
                wire.drain(MAX_WAITING)
        outputs, sent = Outputs(files_room), 0
        for name, file, size in outputs.files():
            wire.send(FILE, json.dumps({"name": name}).encode())
            while size > 0:
                data = os.read(file, min(size, CHUNK))
                if not data:
                    break
                wire.send(FILE_DATA, data)
                wire.drain(MAX_WAITING)
                size, sent = size - len(data), sent + len(data)
        code, usage = os.waitstatus_to_exitcode(script.status), script.usage
        killed = code == -signal.SIGKILL and not (self.timed_out or self.terminated)
        wire.send_now(
            EXIT,
            code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            timed_out=self.timed_out,
            terminated=self.terminated,
            truncated=script.truncated,
            oom_killed=self.kills.killed(killed),
            duration_ms=round(self.duration * 1000),
            cpu_ms=round(max(0, usage.ru_utime + usage.ru_stime - self.warm_up) * 1000),
            max_rss_kb=usage.ru_maxrss,
            stdout_bytes=script.sizes[STDOUT],
            stderr_bytes=script.sizes[STDERR],
            files_bytes=sent,
            files_dropped=outputs.dropped,
        )

    def end_everyone(self, spared=None):
        """Ends every process that the script left behind. One that is spared, and alone, can wait."""
        until = time.monotonic() + END_SECONDS
        while not self.reap() and time.monotonic() < until:
            left = self.children()
            if left == [spared]:
                return
            for process in [-1] if os.getpid() == 1 or signals_stay_inside() else left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.0005)

    def await_ack(self):
        """Waits until the other end has everything. No process of the script is left meanwhile."""
        for seconds in (ANCHOR_SECONDS, ACK_SECONDS):
            with contextlib.suppress(Gone):
                self.next_frame(seconds, parked=False)
                break
            self.end_everyone()

    def children(self):
        """Children of this process, orphans that came to it included."""
        if self.listed is not None:
            return [int(number) for number in os.pread(self.listed, CHUNK, 0).split()]
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open("/proc/%s/stat" % entry, "rb") as stat:
                if int(stat.read().rpartition(b")")[2].split()[1]) == os.getpid():
                    found.append(int(entry))
        return found
