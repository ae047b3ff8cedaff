"""Walls: takes every right away from this process, and tries what must fail now.

The first part of the supervisor's source; what follows it here is `script.py` and `supervisor.py`. The filter is built
from the tables below, so that a line says which call is refused, and where it differs on one machine.
"""
import ctypes, errno, os, resource, struct, sys

LOCAL = sys.argv[1] == "local"
SECCOMP = "no-seccomp" not in sys.argv
libc = ctypes.CDLL(None, use_errno=True)

# System calls that fail with EPERM, and their numbers on x86_64 and aarch64.
DENIED = """
ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, pidfd_getfd 438 438, kcmp 312 272,
bpf 321 280, perf_event_open 298 241, userfaultfd 323 282, syslog 103 116, lookup_dcookie 212 18, fanotify_init 300 262,
add_key 248 217, request_key 249 218, keyctl 250 219, unshare 272 97, setns 308 268,
mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, open_tree 428 428, move_mount 429 429, fsopen 430 430,
fsconfig 431 431, fsmount 432 432, fspick 433 433, mount_setattr 442 442, open_tree_attr 467 467,
open_by_handle_at 304 265, quotactl 179 60, quotactl_fd 443 443, acct 163 89, swapon 167 224, swapoff 168 225,
init_module 175 105, finit_module 313 273, delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294,
reboot 169 142, settimeofday 164 170, clock_settime 227 112, adjtimex 159 171, clock_adjtime 305 266,
sethostname 170 161, setdomainname 171 162, vhangup 153 58, personality 135 92, nfsservctl 180 42,
iopl 172 -, ioperm 173 -, modify_ldt 154 -, uselib 134 -, create_module 174 -, sysctl 156 -
"""
# Beyond a pod's walls, the sockets of the machine's own services are files: only an unnamed pair of streams is left.
DENIED_LOCAL = "socket 41 198, connect 42 203, bind 49 200"
# Fail with ENOSYS: io_uring opens sockets behind the filter's back; from clone3 libc turns to clone, whose flags show.
ABSENT = "io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427, clone3 435 435"
# Fail with EPERM unless (argument & mask) == value. The kernel reads these arguments as 32 bits.
NAMESPACES, DEVICE, WORD = 0x7E020000, 0x2000, 0xFFFFFFFF
CHECKED = [
    ("socket 41 198", [(0, WORD, 1)]),  # AF_UNIX
    ("socketpair 53 199", [(0, WORD, 1)] + ([(1, 0xF, 1)] if LOCAL else [])),  # a datagram pair can send to any path
    ("clone 56 220", [(0, NAMESPACES, 0)]),
    ("mknod 133 -", [(1, DEVICE, 0)]),
    ("mknodat 259 33", [(2, DEVICE, 0)]),
]
# Column of the tables and the kernel's identifier; None where neither is known, or for a 32-bit Python.
ARCHITECTURES = {("x86_64", 8): (0, 0xC000003E), ("aarch64", 8): (1, 0xC00000B7)}
ARCHITECTURE = ARCHITECTURES.get((os.uname().machine, struct.calcsize("P")))
KILL, FAIL, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
LOAD, AND, IF_EQUAL, IF_AT_LEAST, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06


def numbers(table, column):
    entries = (entry.split() for entry in table.split(",") if entry.strip())
    return [int(entry[1 + column]) for entry in entries if entry[1 + column] != "-"]


def filter_program(column, audit):
    """The seccomp filter, in classic BPF. Offsets: 0 the call's number, 4 the architecture, 16 + 8 n argument n."""
    refuse = (RETURN, 0, 0, FAIL | errno.EPERM)
    program = [(LOAD, 0, 0, 4), (IF_EQUAL, 1, 0, audit), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    if column == 0:  # x32 is another set of calls on the same architecture
        program += [(IF_AT_LEAST, 0, 1, 0x40000000), (RETURN, 0, 0, KILL)]
    for number in numbers(DENIED + ("," + DENIED_LOCAL if LOCAL else ""), column):
        program += [(IF_EQUAL, 0, 1, number), refuse]
    for number in numbers(ABSENT, column):
        program += [(IF_EQUAL, 0, 1, number), (RETURN, 0, 0, FAIL | errno.ENOSYS)]
    for call, checks in CHECKED:
        for number in numbers(call, column):
            program += [(IF_EQUAL, 0, 4 * len(checks) + 1, number)]
            for argument, mask, value in checks:
                program += [(LOAD, 0, 0, 16 + 8 * argument), (AND, 0, 0, mask), (IF_EQUAL, 1, 0, value), refuse]
            program += [(RETURN, 0, 0, ALLOW)]
    program += [(RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("=HBBI", *step) for step in program)


def prctl(option, *arguments):
    padded = [ctypes.c_ulong(argument) for argument in arguments] + [ctypes.c_ulong(0)] * (4 - len(arguments))
    return libc.prctl(option, *padded)


PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 3, 4, 22
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS = 36, 38, 39


def harden():
    """Takes rights away for good. Nothing here is checked: `missing_wall` looks at what came of it."""
    limits = {"CORE": 0, "NOFILE": 1024, "FSIZE": 256 << 20}
    # Processes are counted per user on the whole node: a pod has a user of its own, a developer does not.
    limits.update({"AS": 4 << 30} if LOCAL else {"NPROC": 128})
    for name, limit in limits.items():
        kind = getattr(resource, "RLIMIT_" + name)
        hard = resource.getrlimit(kind)[1]
        value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (value, value))
    # The script runs as the same user: it must not read this process's memory or reach its descriptors.
    prctl(PR_SET_DUMPABLE, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    libc.capset(struct.pack("=Ii", 0x20080522, 0), bytes(24))
    if SECCOMP and ARCHITECTURE:
        program = filter_program(*ARCHITECTURE)
        code = ctypes.create_string_buffer(program, len(program))
        loaded = Program(len(program) // 8, ctypes.addressof(code))
        prctl(PR_SET_SECCOMP, 2, ctypes.addressof(loaded))


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]


def missing_wall():
    """Tries what must fail, and names the first wall that does not hold; None when all do."""
    if prctl(PR_GET_NO_NEW_PRIVS) != 1 or prctl(PR_GET_DUMPABLE) != 0:
        return "no_new_privs and non-dumpable: the kernel did not take them"
    if resource.getrlimit(resource.RLIMIT_CORE)[0] != 0:
        return "rlimits: the kernel did not take them"
    with open("/proc/self/status") as status:
        if any(int(line.split()[1], 16) for line in status if line.startswith(("CapEff", "CapPrm"))):
            return "capabilities: some are left"
    if not SECCOMP:
        return None
    if not ARCHITECTURE:
        return "seccomp: there is no filter for the architecture " + os.uname().machine
    for family in (2, 10, 16, 17, 38, 40):  # INET, INET6, NETLINK, PACKET, ALG, VSOCK
        if not fails_with(errno.EPERM, libc.socket, family, 3 if family == 16 else 1, 0):
            return "seccomp: a socket of family %d is not refused" % family
    if not fails_with(errno.ENOSYS, libc.syscall, numbers(ABSENT, ARCHITECTURE[0])[0], 0, 0):
        return "seccomp: io_uring is not refused"
    if not fails_with(errno.EPERM, libc.unshare, 0x10000000):
        return "seccomp: a new user namespace is not refused"
    return None


def fails_with(code, function, *arguments):
    ctypes.set_errno(0)
    return function(*arguments) == -1 and ctypes.get_errno() == code
