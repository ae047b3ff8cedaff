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
