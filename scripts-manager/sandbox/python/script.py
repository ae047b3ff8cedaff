"""The process that runs the script: forked beforehand, warmed up, and ended with the script.

Inherits the walls and none of the supervisor's descriptors: it has pipes, and cannot write a frame.
"""
import contextlib, ctypes, gc, io, json, linecache, os, signal, site, struct, sys, traceback, types

SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
# What most scripts import.
COMMON = "atexit collections copy csv datetime functools itertools math random re string threading time typing".split()
CLONE_VM, CLONE_PARENT, STACK_BYTES = 0x100, 0x8000, 16 << 10
ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
TASK = struct.Struct(">Ii")  # Before what a script's process is told: the size of the JSON, and of the input or -1.
WARM_UP = """import json, os
value = [json.dumps({str(n): n}) for n in range(20)]
print(f"{value!r:.3}")
raise ValueError
"""


def import_common():
    """Before the fork, and left alone by the collector: memory that both processes share costs nothing when one ends.

    That end is the longest part of a short script, and grows with each page that its process has for itself.
    """
    for module in COMMON:
        with contextlib.suppress(ImportError):  # An image may have a part of the standard library.
            __import__(module)
    gc.collect()
    gc.freeze()
    gc.disable()


def script_process(task, parked, out, err, life):
    """Says on `parked` what keeps it from its work, if anything does, and never returns."""
    take_descriptors(out, err, task, parked, life)
    try:
        environment()
        confine()
        work()
    except Exception as error:
        os.write(4, b"%s: %s" % (type(error).__name__.encode(), str(error).encode()))


def work():
    """Prepares everything that costs time, says so, and does what it is told."""
    standard = len(sys.path)
    site.main()  # `exit`, and the packages of the image.
    sys.path.insert(0, "")

    def stream(target, errors):
        return io.TextIOWrapper(target, encoding="utf-8", errors=errors, line_buffering=True)

    def execute(source):
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        linecache.cache["<script>"] = (len(source), None, source.splitlines(True), "<script>")
        try:
            exec(compile(source, "<script>", "exec"), main.__dict__)
            return 0
        except SystemExit as end:
            if end.code is None or isinstance(end.code, int):
                return (end.code or 0) & 0xFF
            print(end.code, file=sys.stderr)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        return 1

    def show(kind, error, trace):
        while trace and trace.tb_frame.f_code.co_filename != "<script>":
            trace = trace.tb_next
        traceback.print_exception(kind, error, trace)

    def prepare(packages, preload):
        """Imports beforehand, and runs something: that touches the memory that running anything touches."""
        if packages:
            sys.path.insert(standard + 1, packages)  # Between the standard library and the packages of the image.
            os.environ["PYTHONPATH"] = packages
        real, sys.stdout, sys.stderr = (sys.stdout, sys.stderr), nowhere, nowhere
        for module in preload:
            with contextlib.suppress(BaseException):  # `SystemExit` too: the script will see for itself.
                __import__(module)
        execute(WARM_UP)
        sys.stdout, sys.stderr = real
        gc.freeze()
        os.write(4, b".%d" % anchored)

    sys.argv, sys.excepthook, nowhere = ["script"], show, stream(io.BytesIO(), "strict")
    sys.stdout = sys.__stdout__ = stream(open(1, "wb", closefd=False), "surrogateescape")
    sys.stderr = sys.__stderr__ = stream(open(2, "wb", closefd=False), "backslashreplace")
    task, anchored = None, anchor()
    with open(3, "rb") as channel:
        while task is None:
            header = channel.read(TASK.size)
            if not header:  # The supervisor is gone.
                os._exit(0)
            size, input_size = TASK.unpack(header)
            message = json.loads(channel.read(size))
            if "preload" in message:
                prepare(**message)
            else:
                task = message
                if input_size >= 0:
                    os.environb[b"ROCKBOT_INPUT"] = channel.read(input_size)
    os.close(4)
    gc.enable()
    code = execute(task["script"])
    # What the interpreter does at its end, without taking itself apart.
    import atexit, threading

    threading._shutdown()
    atexit._run_exitfuncs()
    for file in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # The script may have closed or replaced it.
            file.flush()
    os._exit(code)


def anchor():
    """Starts a process that shares this one's memory, waits for the supervisor's end, and touches nothing.

    Its number, or -1.
    The kernel takes memory apart before it tells of a process's end, which takes longer than a short script. With
    somebody else in it that is left for later, and the exit status comes at once.
    """
    global anchor_stack
    libc.fdopen.restype = ctypes.c_void_p
    file = ctypes.c_void_p(libc.fdopen(5, b"r"))
    # Without a buffer it allocates nothing: the heap is the script's, too.
    libc.setvbuf(file, None, 2, ctypes.c_size_t(0))
    anchor_stack = ctypes.create_string_buffer(STACK_BYTES)
    top = ctypes.c_void_p(ctypes.addressof(anchor_stack) + STACK_BYTES & ~15)
    number = libc.clone(libc.getc_unlocked, top, CLONE_VM | CLONE_PARENT | signal.SIGCHLD, file)
    os.close(5)
    return number


def take_descriptors(*ours):
    """Leaves the supervisor's session, signals and descriptors. 0 to 2 are the script's, the others ours."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(PR_SET_DUMPABLE, 1)  # Without it /proc/self would belong to root.
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    null = os.open("/dev/null", os.O_RDWR)
    for number, descriptor in enumerate((null, *ours)):
        os.dup2(descriptor, number + 200)
    for number in range(6):
        os.dup2(number + 200, number, inheritable=number < 3)
    os.closerange(6, 1 << 16)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")  # When memory runs out the script goes, not the supervisor.


def environment():
    """An empty directory, and nothing in the environment that the script does not need."""
    os.chdir(HOME)
    kept = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    os.environ.clear()
    os.environ.update({"HOME": HOME, "TMPDIR": HOME, "PWD": HOME, "LANG": "C.UTF-8", **kept})
    os.environ.update({"ROCKBOT_INPUT_FILE": INPUT_FILE, "ROCKBOT_OUTPUT_DIR": OUTPUT})


def rehearsal_process(task, parked, out, err, life):
    """Behaves like a script's process, from the supervisor's side."""
    os.write(parked, b".0")
    os.read(task, 1 << 16)
    os.write(out, b"\n")
    os._exit(0)
