"""The process that runs the script: forked beforehand, warmed up, and ended with the script.

Inherits the walls and none of the supervisor's descriptors: it has pipes, and cannot write a frame.
"""
import contextlib, json, os, signal, sys

# What most scripts import. Each module costs memory in every parked process, and time at its end.
COMMON = """collections copy csv datetime functools itertools json math random re string threading time traceback typing"""
ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
WARM_UP = """import json, os
value = [json.dumps({str(n): n}) for n in range(20)]
print(f"{value!r:.3}")
raise ValueError
"""


def script_process(task, parked, out, err):
    """Prepares everything that costs time, says so on `parked`, runs what comes out of `task`, and never returns."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(PR_SET_DUMPABLE, 1)  # Without it /proc/self would belong to root.
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    null = os.open("/dev/null", os.O_RDWR)
    for number, descriptor in enumerate((null, out, err, task, parked)):
        os.dup2(descriptor, number + 200)
    for number in range(5):
        os.dup2(number + 200, number, inheritable=number < 3)
    os.closerange(5, 1 << 16)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")  # When memory runs out the script goes, not the supervisor.

    here = {"HOME": os.getcwd(), "TMPDIR": os.getcwd(), "PWD": os.getcwd(), "LANG": "C.UTF-8"}
    kept = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    os.environ.clear()
    os.environ.update({**here, **kept})
    import gc, io, linecache, site, traceback, types

    site.main()  # `exit`, and the packages of the image.
    sys.path.insert(0, "")
    for module in COMMON.split():
        with contextlib.suppress(ImportError):  # An image may have a part of the standard library.
            __import__(module)

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

    sys.argv, sys.excepthook = ["script"], show
    # Running something touches the memory that running anything touches, before anybody waits for it.
    sys.stdout = sys.stderr = stream(io.BytesIO(), "strict")
    execute(WARM_UP)
    sys.stdout = sys.__stdout__ = stream(open(1, "wb", closefd=False), "surrogateescape")
    sys.stderr = sys.__stderr__ = stream(open(2, "wb", closefd=False), "backslashreplace")
    gc.collect()
    gc.freeze()
    os.write(4, b".")
    os.close(4)

    with open(3, "rb") as channel:
        request = json.loads(channel.read() or b"null")
    if request is None:  # The supervisor is gone.
        os._exit(0)
    if request.get("input") is not None:
        os.environ["ROCKBOT_INPUT"] = request["input"]
    code = execute(request["script"])
    # What the interpreter does at its end, without taking itself apart.
    import atexit, threading

    threading._shutdown()
    atexit._run_exitfuncs()
    for file in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # The script may have closed or replaced it.
            file.flush()
    os._exit(code)
