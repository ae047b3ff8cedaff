"""A script's process, seen from the supervisor: its pipes, what it is told, and how it ended."""
import contextlib, json, os, select, time

PREPARE_SECONDS = 60  # For imports beforehand.
END_MILLISECONDS = 50  # Between two looks whether a process that says nothing has ended.


class Script:
    """A script's process, seen from here."""

    def __init__(self, process):
        task, parked, out, err, life = (os.pipe() for _ in range(5))
        self.process = os.fork()
        if self.process == 0:
            try:
                process(task[0], parked[1], out[1], err[1], life[0])
            finally:
                os._exit(1)
        for descriptor in (task[0], parked[1], out[1], err[1], life[0]):  # `life` ends with this process.
            os.close(descriptor)
        self.task, self.parked, self.output = task[1], parked[0], {out[0]: STDOUT, err[0]: STDERR}
        for descriptor in self.output:
            os.set_blocking(descriptor, False)
        self.status, self.usage = None, None
        self.sizes, self.room, self.truncated = {STDOUT: 0, STDERR: 0}, 0, False

    def tell(self, message, input=None):
        data = TASK.pack(len(message), -1 if input is None else len(input)) + message + (input or b"")
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self.task, data) :]

    def prepare(self, packages=None, preload=()):
        """Has it import packages and warm up, and waits until that is done."""
        self.tell(json.dumps({"packages": packages, "preload": preload}).encode())
        self.await_parked()

    def await_parked(self):
        """The pipe does not tell of an end: the process's anchor has it open, too."""
        poll, until, answer = select.poll(), time.monotonic() + PREPARE_SECONDS, None
        poll.register(self.parked, select.POLLIN)
        while answer is None:
            ended = self.has_ended()
            if poll.poll(0 if ended else END_MILLISECONDS):
                answer = os.read(self.parked, 1024)
            elif ended or time.monotonic() >= until:
                answer = b"it ended" if ended else b"it takes too long"
        if not answer.startswith(b"."):
            raise Refused("the script's process does not start: " + answer.decode("utf-8", "replace"))
        self.anchor = int(answer[1:])

    def has_ended(self):
        """Leaves it to be reaped."""
        try:
            return os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def cpu_seconds(self):
        return time.clock_gettime(~self.process << 3 | 2)
