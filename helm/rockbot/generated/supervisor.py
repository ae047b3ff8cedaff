"""Runs one script, given by whoever holds the other end of stdin and stdout, and ends.

Started as `python3 -I -S -u -c SOURCE pod|local NAME=VALUE…`: as the first process of a pod, or as a child process on
one machine. It takes every right away from itself, tries what must fail now, forks the process that will run the
script, and waits. These files are its source, one after the other: what it was told, the canary, the walls, the
script's process, packages, files, memory, frames, and the supervisor that puts all of it together.
"""
import os, sys

LOCAL = sys.argv[1] == "local"
SETTINGS = {
    "walls": "strict",  # Or "baseline": go without a wall that is missing, and say so.
    "seccomp": "on",  # Or "off", to test the other walls.
    "canary": "",  # ADDRESS:PORT that should be out of reach.
    "preload": "",  # Modules to import once packages are there, separated by commas.
    **dict(setting.split("=", 1) for setting in sys.argv[2:]),
}
# The directory in which this process was started is the sandbox's own.
ROOT = os.getcwd()
HOME, INPUT_FILE, OUTPUT = (os.path.join(ROOT, name) for name in ("home", "input", "output"))
PACKAGES = os.path.join(ROOT, "packages") if LOCAL else "/packages"
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
"""Walls: takes every right away from this process, and tries what must fail now.

Two layers. `harden` is for the supervisor, which everything else inherits; `confine` adds what holds for the script
alone. The seccomp filter and the Landlock rules are built from the tables below, so that a line says what is refused,
and where it differs on one machine, which is somebody's: there a script sees no more files than Python needs.
"""
import ctypes, errno, os, resource, stat, struct, sys

libc = ctypes.CDLL(None, use_errno=True)

# System calls that fail with EPERM, and their numbers on x86_64 and aarch64.
DENIED = """
ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, process_madvise 440 440, process_mrelease 448 448,
pidfd_getfd 438 438, kcmp 312 272, move_pages 279 239, migrate_pages 256 238, memfd_secret 447 447, seccomp 317 277,
bpf 321 280, perf_event_open 298 241, userfaultfd 323 282, syslog 103 116, lookup_dcookie 212 18, fanotify_init 300 262,
add_key 248 217, request_key 249 218, keyctl 250 219, unshare 272 97, setns 308 268, lsm_set_self_attr 460 460,
mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, open_tree 428 428, move_mount 429 429, fsopen 430 430,
fsconfig 431 431, fsmount 432 432, fspick 433 433, mount_setattr 442 442, open_tree_attr 467 467,
name_to_handle_at 303 264, open_by_handle_at 304 265, quotactl 179 60, quotactl_fd 443 443, file_setattr 469 469,
acct 163 89, swapon 167 224, swapoff 168 225, sync 162 81, syncfs 306 267, io_setup 206 0,
shmget 29 194, shmat 30 196, shmctl 31 195, semget 64 190, semctl 66 191, msgget 68 186, msgctl 71 187,
mq_open 240 180, mq_unlink 241 181,
init_module 175 105, finit_module 313 273, delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294,
reboot 169 142, settimeofday 164 170, clock_settime 227 112, adjtimex 159 171, clock_adjtime 305 266,
sethostname 170 161, setdomainname 171 162, vhangup 153 58, personality 135 92, nfsservctl 180 42,
iopl 172 -, ioperm 173 -, modify_ldt 154 -, uselib 134 -, create_module 174 -, _sysctl 156 -
"""
# One machine has more than a pod: its services' sockets are files, of which only an unnamed pair of streams is left,
# and Landlock does not guard a file's owner and attributes.
DENIED_LOCAL = """
socket 41 198, connect 42 203, bind 49 200, chown 92 -, fchown 93 55, lchown 94 -, fchownat 260 54,
setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7, setxattrat 463 463,
removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16, removexattrat 466 466
"""
# Nor its mode and times. A script's calls change nothing and say that they did, since whoever copies a file makes them.
IGNORED_LOCAL = """
chmod 90 -, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452,
utime 132 -, utimes 235 -, futimesat 261 -, utimensat 280 88
"""
# Fail with ENOSYS: io_uring opens sockets behind the filter's back; from clone3 libc turns to clone, whose flags show.
ABSENT = "io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427, clone3 435 435"
# So does every call that is newer than these tables: nobody has judged it yet.
FIRST_UNKNOWN = 470
# Fail with EPERM unless (argument & mask) == value. The kernel reads these arguments as 32 bits.
NAMESPACES, DEVICE, SET_ID, WORD = 0x7E020000, 0x2000, 0o6000, 0xFFFFFFFF
ITSELF = [(0, WORD, 0)]  # The same user's other processes are nobody's to limit, slow down or move.
CHECKED = [
    ("socket 41 198", [(0, WORD, 1)]),  # AF_UNIX
    ("socketpair 53 199", [(0, WORD, 1)] + ([(1, 0xF, 1)] if LOCAL else [])),  # a datagram pair can send to any path
    ("clone 56 220", [(0, NAMESPACES, 0)]),
    ("mknod 133 -", [(1, DEVICE, 0)]),
    ("mknodat 259 33", [(2, DEVICE, 0)]),
    ("chmod 90 -, fchmod 91 52", [(1, SET_ID, 0)]),
    ("fchmodat 268 53, fchmodat2 452 452", [(2, SET_ID, 0)]),
    ("prlimit64 302 261, sched_setaffinity 203 122, sched_setattr 314 274", ITSELF),
    ("sched_setscheduler 144 119, sched_setparam 142 118", ITSELF),
    ("setpriority 141 140", [(0, WORD, 0), (1, WORD, 0)]),
    ("ioprio_set 251 30", [(0, WORD, 1), (1, WORD, 0)]),
]

# What Landlock calls an access. Rules for a file, which has nothing below it, may name only some of them.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_SYM = (1 << bit for bit in (7, 8, 9, 10, 12))
REFER, TRUNCATE, IOCTL_DEV = (1 << bit for bit in (13, 14, 15))
READ = EXECUTE | READ_FILE | READ_DIR
USE = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV
WRITE = READ | USE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM | REFER
OF_A_FILE = EXECUTE | USE

DEVICES = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"]
# How many processors and how much memory there is.
MEASURES = ["/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/fs/cgroup"]
# On one machine, beside Python's own directories. Others' command lines are in /proc, their files in /etc and /tmp.
PROGRAMS = """/bin /sbin /lib /lib32 /lib64 /usr /nix/store /home/linuxbrew/.linuxbrew""".split()
FILES_OF_ETC = """alternatives ca-certificates debian_version fonts gai.conf group host.conf ld.so.cache ld.so.conf
ld.so.conf.d localtime locale.alias magic mime.types nsswitch.conf os-release passwd pki/tls/certs protocols services
ssl/certs ssl/openssl.cnf terminfo timezone""".split()
FILES_OF_PROC = "cpuinfo filesystems loadavg meminfo self stat sys uptime version".split()
TOP = os.listdir("/")  # Looked at now: later it cannot be.

# Column of the tables and the kernel's identifier; None where neither is known, or for a 32-bit Python.
ARCHITECTURES = {("x86_64", 8): (0, 0xC000003E), ("aarch64", 8): (1, 0xC00000B7)}
ARCHITECTURE = ARCHITECTURES.get((os.uname().machine, struct.calcsize("P")))
KILL, FAIL, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
LOAD, AND, IF_EQUAL, IF_AT_LEAST, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
# The kernel's version of Landlock; 0 without it. Scopes came with 6, the device's ioctl with 5, TCP with 4.
LANDLOCK = max(0, libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, 1))
layers = 0


def numbers(table, column):
    entries = (entry.split() for entry in table.split(",") if entry.strip())
    return [int(entry[1 + column]) for entry in entries if entry[1 + column] != "-"]


def number_of(call):
    return next(numbers(entry, ARCHITECTURE[0])[0] for entry in DENIED.split(",") if entry.split()[0] == call)


def filter_program(refused, checked=()):
    """A seccomp filter, in classic BPF: tables of calls with the error that each fails with, and calls to look into.

    Offsets: 0 the call's number, 4 the architecture, 16 + 8 n argument n.
    """
    column, audit = ARCHITECTURE
    program = [(LOAD, 0, 0, 4), (IF_EQUAL, 1, 0, audit), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    if column == 0:  # x32 is another set of calls on the same architecture
        program += [(IF_AT_LEAST, 0, 1, 0x40000000), (RETURN, 0, 0, KILL)]
    program += [(IF_AT_LEAST, 0, 1, FIRST_UNKNOWN), (RETURN, 0, 0, FAIL | errno.ENOSYS)]
    for table, code in refused:
        for number in numbers(table, column):
            program += [(IF_EQUAL, 0, 1, number), (RETURN, 0, 0, FAIL | code)]
    for calls, checks in checked:
        for number in numbers(calls, column):
            program += [(IF_EQUAL, 0, 4 * len(checks) + 1, number)]
            for argument, mask, value in checks:
                program += [(LOAD, 0, 0, 16 + 8 * argument), (AND, 0, 0, mask), (IF_EQUAL, 1, 0, value)]
                program += [(RETURN, 0, 0, FAIL | errno.EPERM)]
            program += [(RETURN, 0, 0, ALLOW)]
    program += [(RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("=HBBI", *step) for step in program)


def install_filter(*tables):
    program = filter_program(*tables)
    code = ctypes.create_string_buffer(program, len(program))
    loaded = Program(len(program) // 8, ctypes.addressof(code))
    prctl(PR_SET_SECCOMP, 2, ctypes.addressof(loaded))


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]


def rules(script):
    """The paths that may be opened, and how; all others may not. A script may do less than its supervisor."""
    if script:
        allowed = [(ROOT, READ), (PACKAGES, READ), (HOME, WRITE), (OUTPUT, WRITE)]
    else:
        allowed = [(ROOT, WRITE), (PACKAGES, WRITE), ("/proc", READ | WRITE_FILE)]
    allowed += [(path, USE) for path in DEVICES] + [(path, READ) for path in MEASURES]
    if LOCAL:
        # Not what is around `sys.executable`: that may be a link in somebody's own directory.
        prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.realpath(sys.executable)}
        allowed += [(path, READ) for path in [*PROGRAMS, *prefixes, *sys.path]]
        allowed += [("/etc/" + name, READ) for name in FILES_OF_ETC]
        allowed += [("/proc/" + name, READ) for name in FILES_OF_PROC]
    else:  # The image is nobody's secret. Semaphores of processes are in /dev/shm.
        allowed += [("/" + name, READ) for name in TOP if name not in ("dev", "run", "sys")]
        allowed += [("/dev/shm", WRITE)]
    return allowed


def restrict(allowed):
    """One more layer of Landlock. TCP, abstract sockets and signals out of here have no rule, so none is allowed."""
    global layers
    handled = (1 << (13, 14, 15, 15, 16)[min(LANDLOCK, 5) - 1]) - 1
    attributes = struct.pack("=QQQ", handled, 3, 3)[: 24 if LANDLOCK >= 6 else 16 if LANDLOCK >= 4 else 8]
    ruleset = done(libc.syscall(LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0))
    for path, access in allowed:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # Not here.
        access &= handled if stat.S_ISDIR(os.fstat(opened).st_mode) else handled & OF_A_FILE
        done(libc.syscall(LANDLOCK_ADD_RULE, ruleset, 1, struct.pack("=Qi", access, opened), 0))
        os.close(opened)
    # A script that tries a million times shall not fill the node's audit log.
    done(libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 1 if LANDLOCK >= 7 else 0))
    os.close(ruleset)
    layers += 1


def done(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def prctl(option, *arguments):
    padded = [ctypes.c_ulong(argument) for argument in arguments] + [ctypes.c_ulong(0)] * (4 - len(arguments))
    return libc.prctl(option, *padded)


PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 3, 4, 22
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS = 36, 38, 39


def limits():
    """Most that one process may have. A pod's memory, disk and processes are limited from outside, too."""
    # A core of 1 byte is none, and where cores go to a program of the node, 1 alone keeps them from it.
    most = {"CORE": 1, "NOFILE": 1024, "FSIZE": 256 << 20, "MEMLOCK": 64 << 10, "MSGQUEUE": 0, "SIGPENDING": 1024}
    most.update(NICE=0, RTPRIO=0)
    # Processes are counted per user on the whole node: a pod has a user of its own, a developer does not, who may
    # start more while the script waits. The kernel exempts root.
    if LOCAL:
        with open("/proc/loadavg") as file:
            most.update(AS=4 << 30, NPROC=int(file.read().split()[3].partition("/")[2]) + 1024)
    else:
        most.update(NPROC=128)
    return {getattr(resource, "RLIMIT_" + name): limit for name, limit in most.items()}


LIMITS = limits()


def harden(settings):
    """Takes rights away for good. Nothing here is checked: `walls` looks at what came of it."""
    for kind, limit in LIMITS.items():
        hard = resource.getrlimit(kind)[1]
        value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (value, value))
    # The script runs as the same user: it must not read this process's memory or reach its descriptors.
    prctl(PR_SET_DUMPABLE, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if LANDLOCK:
        restrict(rules(script=False))
    libc.capset(struct.pack("=Ii", 0x20080522, 0), bytes(24))
    if settings["seccomp"] == "on" and ARCHITECTURE:
        denied = [(DENIED, errno.EPERM), (ABSENT, errno.ENOSYS)] + [(DENIED_LOCAL, errno.EPERM)] * LOCAL
        install_filter(denied, CHECKED)


def confine():
    """The script's own layer, put up by its process: it cannot signal its supervisor, nor write what only that may."""
    if LOCAL and SETTINGS["seccomp"] == "on" and ARCHITECTURE:
        install_filter([(IGNORED_LOCAL, 0)])
    if LANDLOCK:
        restrict(rules(script=True))
        if LANDLOCK >= 6 and not fails_with(errno.EPERM, libc.kill, os.getppid(), 0):
            raise RuntimeError("signals: the script could send some to its supervisor")
        if not fails_with(errno.EACCES, libc.open, b"/proc/self/oom_score_adj", os.O_WRONLY):
            raise RuntimeError("files: the script could write outside its directory")


def signals_stay_inside():
    """Whether a signal to everyone reaches only what this process started: a layer of Landlock scopes them."""
    return layers > 0 and LANDLOCK >= 6 and fails_with(errno.EPERM, libc.kill, os.getppid(), 0)


def walls():
    """The names of the walls that hold, and what is wrong with the others, by name. Tries what must fail."""
    attempts = [no_new_privs, non_dumpable, rlimits, capabilities, files, seccomp] + [signals] * LOCAL
    found = {attempt.__name__: attempt() for attempt in attempts}
    return [name for name, wrong in found.items() if not wrong], {name: wrong for name, wrong in found.items() if wrong}


def no_new_privs():
    return None if prctl(PR_GET_NO_NEW_PRIVS) == 1 else "a setuid program would get other rights"


def non_dumpable():
    return None if prctl(PR_GET_DUMPABLE) == 0 else "the supervisor's memory can be read"


def rlimits():
    for kind, limit in LIMITS.items():
        if not 0 <= resource.getrlimit(kind)[1] <= limit:
            return "the kernel did not take limit %d" % kind


def capabilities():
    with open("/proc/self/status") as status:
        if any(int(line.split()[1], 16) for line in status if line.startswith(("CapEff", "CapPrm"))):
            return "some are left"


def files():
    if not fails_with(errno.EACCES, libc.open, b"/", os.O_RDONLY | os.O_DIRECTORY):
        return "this kernel has no Landlock" if not LANDLOCK else "the root directory can be listed"
    if LOCAL and LANDLOCK < 3:
        return "this kernel's Landlock lets files be truncated"


def signals():
    if not signals_stay_inside():
        return "this kernel's Landlock does not keep signals inside"


def seccomp():
    if not ARCHITECTURE:
        return "there is no filter for the architecture " + os.uname().machine
    for family in (2, 10, 16, 17, 38, 40):  # INET, INET6, NETLINK, PACKET, ALG, VSOCK
        if not fails_with(errno.EPERM, libc.socket, family, 3 if family == 16 else 1, 0):
            return "a socket of family %d is not refused" % family
    if not fails_with(errno.ENOSYS, libc.syscall, numbers(ABSENT, ARCHITECTURE[0])[0], 0, 0):
        return "io_uring is not refused"
    if not fails_with(errno.EPERM, libc.unshare, 0x10000000):
        return "a new user namespace is not refused"
    for call in ("ptrace", "bpf", "mount"):  # Such arguments fail in another way where the call is let through.
        if not fails_with(errno.EPERM, libc.syscall, number_of(call), -1, 0, 0, 0, 0):
            return call + " is not refused"


def fails_with(code, function, *arguments):
    ctypes.set_errno(0)
    return function(*arguments) == -1 and ctypes.get_errno() == code
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
"""Packages: unpacks the archive that somebody else made, and takes nothing from it but regular files and directories.

Reads the archive itself rather than by `tarfile`, which takes an archive that is damaged in its middle for one that
ends there.
"""
import os

MAX_ENTRIES_OF_LAYER = 30_000
MAX_BYTES_OF_LAYER = 180 << 20
BLOCK = 512
NOTHING = bytes(BLOCK)


class Refused(Exception):
    """Why no script will be run here."""


class Archive:
    """The bytes of a gzip'd archive that comes in pieces."""

    def __init__(self, pieces):
        import zlib

        self.pieces, self.data, self.gzip, self.error = pieces, b"", zlib.decompressobj(31), zlib.error

    def more(self):
        """A few more bytes; none at the end, whose checksum is right."""
        while not self.gzip.eof:
            piece = self.gzip.unconsumed_tail or next(self.pieces, b"")
            try:
                data = self.gzip.decompress(piece, CHUNK)
            except self.error as error:
                raise Refused("the packages' archive is damaged: %s" % error) from None
            if data or not piece:
                return data
        return b""

    def read(self, size):
        while len(self.data) < size:
            data = self.more()
            if not data:
                raise Refused("the packages' archive is damaged: it ends early")
            self.data += data
        data, self.data = self.data[:size], self.data[size:]
        return data

    def entries(self):
        """Path, type, size, mode and time of each entry, whose content is to be read before the next."""
        path = None
        while True:
            block = self.read(BLOCK)
            if block == NOTHING:
                break
            try:
                size, mode, time, total = (int(block[a:b].rstrip(b" \0") or b"0", 8) for a, b in FIELDS)
            except ValueError:
                total = None
            if total != sum(block) - sum(block[148:156]) + 8 * 32:
                raise Refused("the packages' archive is damaged: this is no header")
            kind = block[156:157]
            if kind in b"Lx" and size < CHUNK:  # The path of the next entry, when it is long.
                text = self.read(size + -size % BLOCK)[:size]
                path = text.rstrip(b"\0") if kind == b"L" else path_of(text)
                continue
            name, prefix = block[:100].rstrip(b"\0"), block[345:500].rstrip(b"\0")
            if path is None:
                path = prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name
            yield path.decode("utf-8", "surrogateescape"), kind, size, mode, time
            path = None
        while self.more():
            pass
        if not self.gzip.eof:
            raise Refused("the packages' archive is damaged: it ends early")


FIELDS = (124, 136), (100, 108), (136, 148), (148, 156)  # Of a header: size, mode, time, checksum.


def path_of(records):
    """The path in an extended header. What else may be there changes nothing, except another size, which is refused."""
    path = None
    while records:
        length, _, rest = records.partition(b" ")
        end = int(length) - len(length) - 1 if length.isdigit() else 0
        key, _, value = rest[: max(end, 1) - 1].partition(b"=")
        if end <= 0 or key in (b"size", b"linkpath") or key.startswith(b"GNU.sparse"):
            raise Refused("the packages' archive is damaged: %r" % records[:40])
        path, records = value if key == b"path" else path, rest[end:]
    return path


def unpack(pieces, root):
    """Unpacks a gzip'd tar into a directory that nobody else writes to: without links, no path leads out of it."""
    archive, entries, files, total = Archive(pieces), 0, 0, 0
    for name, kind, size, mode, time in archive.entries():
        path = os.path.join(root, *inner(name))
        entries, total = entries + 1, total + size
        if entries > MAX_ENTRIES_OF_LAYER:
            raise Refused("the packages may have at most %d entries" % MAX_ENTRIES_OF_LAYER)
        if total > MAX_BYTES_OF_LAYER:
            raise Refused("the packages may have at most %d bytes" % MAX_BYTES_OF_LAYER)
        try:
            if kind == b"5" and size == 0:
                os.makedirs(path, exist_ok=True)
            elif kind in (b"0", b"\0"):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                write(path, archive, size, mode, time)
                files += 1
            else:
                raise Refused("the packages hold %r, which is neither a file nor a directory" % name)
        except OSError as error:
            raise Refused("the packages cannot be unpacked: %s" % error) from None
    return {"files": files, "bytes": total}


def inner(name):
    """The parts of a path that leads into the directory that it is relative to."""
    parts = [part for part in (name[:-1] if name.endswith("/") else name).split("/") if part != "."]
    if "" in parts or ".." in parts or "\0" in name:
        raise Refused("the packages hold %r, a path that leads elsewhere" % name)
    return parts


def write(path, archive, size, mode, time):
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o644 | mode & 0o111), "wb", buffering=0) as file:
        for begin in range(0, size, CHUNK):
            file.write(archive.read(min(CHUNK, size - begin)))
        archive.read(-size % BLOCK)
        os.utime(file.fileno(), (time, time))  # Compiled modules remember it.
"""Files that the script left in its output directory. Its processes are gone; what they left there is not trusted."""
import itertools, os, stat

MAX_FILES = 64
MAX_ENTRIES = 1000  # That are looked at, directories included.
MAX_DEPTH = 16
MAX_DROPPED = 32  # That are named.
MAX_SHOWN = 200  # Characters of such a name.
KINDS = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


class Outputs:
    """Looks at each entry once, and opens only regular files that nothing else leads to."""

    def __init__(self, room):
        self.cap = self.room = room
        self.looked = self.count = self.more = 0
        self.dropped = []

    def files(self):
        """Name, descriptor and size of each file that comes back."""
        try:
            directory = os.open(OUTPUT, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # The script may have removed it.
            return
        yield from self.walk(directory, "", 1)
        if self.more:
            self.dropped.append({"name": ".", "reason": "and %d more" % self.more})

    def walk(self, directory, prefix, depth):
        """Goes through an open directory, and closes it."""
        try:
            with os.scandir(directory) as entries:
                names = sorted(entry.name for entry in itertools.islice(entries, MAX_ENTRIES + 1 - self.looked))
            for name in names:
                self.looked += 1
                if self.looked > MAX_ENTRIES:
                    return self.drop(prefix or ".", "more than %d entries; the rest was not looked at" % MAX_ENTRIES)
                try:
                    yield from self.look(directory, name, prefix + name, depth)
                except OSError as error:
                    self.drop(prefix + name, "cannot be read: " + os.strerror(error.errno))
        finally:
            os.close(directory)

    def look(self, directory, name, path, depth):
        kind = stat.S_IFMT(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
        if not path.isprintable():
            self.drop(path, "its name is not printable text")
        elif kind == stat.S_IFDIR and depth == MAX_DEPTH:
            self.drop(path, "more than %d directories deep" % MAX_DEPTH)
        elif kind == stat.S_IFDIR:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            yield from self.walk(os.open(name, flags, dir_fd=directory), path + "/", depth + 1)
        elif kind == stat.S_IFREG:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
            try:
                status = os.fstat(file)
                if self.takes(path, status):
                    yield path, file, status.st_size
            finally:
                os.close(file)
        else:
            self.drop(path, "not a regular file but " + KINDS.get(kind, "a device"))

    def takes(self, path, status):
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            return self.drop(path, "not a file of its own but a hard link")
        if self.count == MAX_FILES:
            return self.drop(path, "more than %d files" % MAX_FILES)
        if status.st_size > self.room:
            return self.drop(path, "%d bytes; all files together may have %d" % (status.st_size, self.cap))
        self.count, self.room = self.count + 1, self.room - status.st_size
        return True

    def drop(self, path, reason):
        if len(self.dropped) < MAX_DROPPED:
            shown = path if path.isprintable() else ascii(path)[1:-1]
            self.dropped.append({"name": shown[:MAX_SHOWN], "reason": reason})
        else:
            self.more += 1
"""Whether the kernel killed somebody because memory ran out: its own count, for the control group of this process."""
import contextlib, os


class KillCount:
    """The count, opened before the walls go up. In a pod nobody else is in that group; on one machine others may be."""

    def __init__(self):
        self.file = None
        with contextlib.suppress(OSError), open("/proc/self/cgroup") as groups:
            for group in groups:
                _, kind, path = group.rstrip("\n").split(":", 2)
                if kind == "":
                    self.open("/sys/fs/cgroup", path, "memory.events")
                elif "memory" in kind.split(","):
                    self.open("/sys/fs/cgroup/memory", path, "memory.oom_control")
        self.begin = self.now()

    def open(self, mount, path, name):
        for group in (path, "/"):  # A container sees its own group as the root.
            if self.file is None:
                with contextlib.suppress(OSError):
                    self.file = os.open(os.path.join(mount + group, name), os.O_RDONLY | os.O_CLOEXEC)

    def now(self):
        if self.file is not None:
            with contextlib.suppress(OSError):
                for line in os.pread(self.file, 4096, 0).splitlines():
                    if line.startswith(b"oom_kill "):
                        return int(line.split()[1])
        return None

    def killed(self, by_surprise):
        """Whether it grew. `by_surprise`: the script ended by a SIGKILL that this process did not send."""
        count = self.now()
        if count is None:  # An old kernel, or no view of the group: the best guess.
            return by_surprise
        return count > self.begin and (by_surprise or not LOCAL)
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
"""From the first line to the last: walls, greeting, script, acknowledgement."""
import contextlib, json, os, sys

HELLO_SECONDS = 20  # Nobody attached for so long: whoever started this process is gone.


def main():
    if os.getpid() != 1:  # Signals to a terminal's processes stay away; orphans come here.
        with contextlib.suppress(PermissionError):
            os.setsid()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    canary, supervisor = Canary(SETTINGS["canary"]), Supervisor()
    held, missing, reason = [], {}, None
    try:
        os.mkdir(HOME)
        os.mkdir(OUTPUT)
        open(INPUT_FILE, "wb").close()
        harden(SETTINGS)
        held, missing = walls()
        if missing and SETTINGS["walls"] == "strict":
            raise Refused("; ".join("%s: %s" % wall for wall in missing.items()))
        supervisor.start()
    except Exception as error:
        reason = str(error) if isinstance(error, Refused) else "%s: %s" % (type(error).__name__, error)
    try:
        kind, payload = supervisor.next_frame(HELLO_SECONDS)
        if kind != HELLO:
            raise Gone
        if reason is None:
            supervisor.wire.send_now(
                READY,
                protocol=PROTOCOL,
                python=sys.version.split()[0],
                walls=held,
                missing=list(missing),
                canary=canary.result(json.loads(payload)["canary_ms"] / 1000),
            )
            reason = supervisor.serve()
        if reason is not None:
            supervisor.wire.send_now(REFUSED, reason=reason)
        supervisor.await_ack()
    except Gone:
        pass
    supervisor.end_everyone()
    os._exit(0)


main()
