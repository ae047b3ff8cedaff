"""What attacks share; it goes before each of them. `targets` is what the harness put up to be reached."""
import ctypes, errno, json, os, platform, resource, signal, socket, struct, sys, time

libc = ctypes.CDLL(None, use_errno=True)
targets = json.loads(os.environ.get("ROCKBOT_INPUT", "{}"))
POD = "pod" in targets["tcp"]
# Whatever nobody ends ends by itself.
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))


def outcome(action):
    """How an attempt ended: `refused CODE`, or what it got."""
    try:
        return "got through: %s" % (action(),)
    except OSError as error:
        return "refused " + errno.errorcode.get(error.errno, str(error))


def attempt(*actions):
    """Prints how the attempts ended; each end once."""
    print(*sorted({outcome(action) for action in actions}), sep="\n")


def breaches(actions):
    """Prints the names of the attempts that were not refused, whatever refused the others."""
    print([name for name, action in actions.items() if not outcome(action).startswith("refused")])


def make(path):
    """Makes a file that was not there, and takes it back."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.unlink(path)


def call(name, *arguments):
    """An attempt at a function of libc."""
    def action():
        ctypes.set_errno(0)
        if getattr(libc, name)(*arguments) == -1:
            raise OSError(ctypes.get_errno(), name)
    return action


def syscall(x86_64, aarch64, *arguments):
    """An attempt at a system call, by its numbers."""
    return call("syscall", x86_64 if platform.machine() == "x86_64" else aarch64, *arguments)


def machine_code(code, *words):
    """Address of x86-64 machine code, in which ARGS stands for the address of 32-bit words."""
    import mmap

    memory = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40, 7)  # Below 4 GiB, to write and execute.
    code_is_kept.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    memory.write(code.replace(b"ARGS", struct.pack("=I", start + 2048)))
    memory.seek(2048)
    memory.write(struct.pack("=%di" % len(words), *words))
    return start


code_is_kept = []


def frame(kind, payload):
    """A frame as the supervisor writes them."""
    return struct.pack(">IB", len(payload), kind) + payload
