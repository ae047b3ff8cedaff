"""Installs packages for scripts with pip, and sends them as one archive to whoever holds the other end of its streams.

Started as `python3 -I -u -c SOURCE pod|local` in an empty directory: where a network is, and no script ever. Only
wheels are installed, so no code of a package runs here. pip knows that of what it finds on an index; a package may also
name an address, and what is there is refused. It is silent until its order is there, because an attached
stdout repeats nothing that was said before.
"""
import gzip, hashlib, io, json, os, re, select, shutil, signal, stat, struct, subprocess, sys, sysconfig, tarfile, time
import importlib.machinery, importlib.metadata, importlib.util

ORDER, ACK = 0x10, 0x03
ARCHIVE, INSTALLED, FAILED = 0x91, 0x92, 0x93
MAX_ORDER = 256 << 10
ORDER_SECONDS = 60  # Nobody attached for so long: whoever started this process is gone.
ACK_SECONDS = 5
LOOK_SECONDS = 0.2  # How often pip is looked at.
CHUNK = 64 << 10
MAX_LOG = 16 << 20
TARGET, REPORT, LOG = "target", "report.json", "pip.log"
# What pip writes about its own work: it differs from run to run, and names this directory.
NOTES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
# What pip says when a file cannot be fetched although the index has it.
BROKEN = r"HTTP error \d+|Read timed out|Connection ?Error|ConnectionFailed|Max retries|IncompleteRead|ProtocolError"
# What it says of a requirement that nothing satisfies: which, what needs it if it is not ours, and what there is.
MISSING = r"satisfies the requirement (.+?)(?: \(from (?!versions:)(.+?)\))? \(from versions: (.*)\)"
# pip, which never builds anything: `--only-binary` does not keep it from what a package names by an address.
PIP = """
import runpy
from pip._internal.distributions.sdist import SourceDistribution
from pip._internal.exceptions import InstallationError
def refuse(self, *_, **__):
    raise InstallationError("%s would be built from its source" % self.req.name)
SourceDistribution.prepare_distribution_metadata = refuse
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
BUILT = r"(\S+) would be built from its source"
TAGS = "Python %d.%d on %s" % (*sys.version_info[:2], os.uname().machine)


class Gone(Exception):
    """Nobody is at the other end any more."""


class Failure(Exception):
    """There will be no layer."""

    def __init__(self, kind, subject="", detail=""):
        self.answer = {"kind": kind, "subject": subject, "detail": detail[:1000]}


def receive(kind, seconds):
    """The payload of the next frame, which must be of this kind."""
    inbox, until = b"", time.monotonic() + seconds
    while len(inbox) < 5 or len(inbox) < 5 + struct.unpack_from(">I", inbox)[0]:
        if len(inbox) > MAX_ORDER or not select.select([0], [], [], max(0, until - time.monotonic()))[0]:
            raise Gone
        data = os.read(0, CHUNK)
        if not data:
            raise Gone
        inbox += data
    if inbox[4] != kind:
        raise Gone
    return inbox[5:]


def send(kind, payload):
    frame = struct.pack(">IB", len(payload), kind) + payload
    while frame:
        try:
            frame = frame[os.write(1, frame) :]
        except OSError:
            raise Gone from None


def pip():
    """pip of this interpreter; on one machine, `uv` brings one where the interpreter has none."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-I", "-c", PIP]
    uv = shutil.which("uv") if sys.argv[1] == "local" else None
    if uv:
        return [uv, "tool", "run", "--quiet", "--python", sys.executable, "--from", "pip", "python", "-I", "-c", PIP]
    where = "the image of scripts" if sys.argv[1] == "pod" else "%s, and there is no uv in PATH" % sys.executable
    raise Failure("no_pip", detail="there is no pip in " + where)


def arguments(order):
    found = ["install", "--target", TARGET, "--only-binary", ":all:", "--no-compile", "--no-input"]
    found += ["--report", REPORT, "--log", LOG, "--progress-bar", "off", "--disable-pip-version-check"]
    found += ["--retries", "2", "--timeout", "15"]
    if order["index"]:
        # Nothing but this index, whatever the image or the machine is configured to.
        found += ["--isolated", "--no-cache-dir", "--index-url", order["index"]]
        plain = re.match(r"http://([^/]+)", order["index"])
        found += ["--trusted-host", plain[1]] if plain else []
    if order["lock"]:
        with open("lock.txt", "w") as lock:
            for one in order["lock"]:
                print("%(name)s==%(version)s --hash=sha256:%(sha256)s" % one, file=lock)
        return found + ["--no-deps", "--require-hashes", "--requirement", "lock.txt"]
    return found + ["--"] + order["requirements"]


def run_pip(order):
    """Runs pip to its end, unless it takes too long or too much, or nobody waits for it any more."""
    os.mkdir("tmp")
    here = {"TMPDIR": os.path.abspath("tmp")}
    if order["index"]:
        here.update(HOME=os.getcwd(), PIP_CONFIG_FILE=os.devnull)
    until = time.monotonic() + order["timeout_seconds"]
    largest = order["max_bytes"] + order["max_archive_bytes"] + MAX_LOG
    with open("pip.out", "wb") as out:
        command, environment = pip() + arguments(order), {**os.environ, **here}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)
    try:
        while process.poll() is None:
            if select.select([0], [], [], LOOK_SECONDS)[0]:
                raise Gone
            if time.monotonic() > until:
                raise Failure("index", detail="it took longer than %d s" % order["timeout_seconds"])
            if used() > largest:
                raise Failure("too_large", detail="to install them takes more than %d MiB" % (largest >> 20))
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        raise explain(read(LOG) or read("pip.out"))


def used():
    """Bytes below this directory. Files come and go meanwhile."""
    total = 0
    for folder, _, names in os.walk("."):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                pass
    return total


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(MAX_LOG)
    except OSError:
        return ""


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def explain(log):
    """Why pip failed, from its log."""
    # Each line of it begins with its time.
    log = re.sub(r"(?m)^\d{4}-\d\d-\d\dT[\d:,]+ ", "", log)
    if "DO NOT MATCH THE HASHES" in log:
        changed = re.findall(r"\n +(\S+) from .*:\n", log)
        return Failure("changed", detail=", ".join(dict.fromkeys(changed)) or "a wheel")
    conflict = re.search(r"The conflict is caused by:\s*\n(.*?)\n\s*\n", log, re.S)
    if conflict:
        return Failure("conflict", detail="; ".join(line.strip() for line in conflict[1].splitlines()))
    built = re.search(BUILT, log)
    if built:
        return Failure("source_only", normal(built[1]))
    missing = re.findall(MISSING, log)
    if missing:
        requirement, needed_by, versions = missing[-1]
        failure = explain_missing(requirement, versions, log)
        if needed_by and not needed_by.startswith("-r "):
            failure.answer["subject"] += " (needed by %s)" % needed_by
        return failure
    broken = re.search("[^\n]*(%s)[^\n]*" % BROKEN, log)
    if broken:
        return Failure("index", detail=reason(broken[0]))
    if "No space left on device" in log or "File too large" in log:
        return Failure("too_large", detail="there is no room to install the packages")
    errors = re.findall(r"(?m)^\s*(?:ERROR: |error: )([^\n]+)", log) or log.strip().splitlines() or ["nothing"]
    return Failure("other", detail=errors[-1].strip())


def explain_missing(requirement, versions, log):
    """Why pip found nothing that satisfies a requirement."""
    name = normal(re.match(r"[\w.-]*", requirement)[0])
    for url, why in re.findall(r"Could not fetch URL (\S+): (.*?) - skipping", log, re.S):
        if normal(url.rstrip("/").rpartition("/")[2]) == name:
            return Failure("unknown", name) if re.match(r"404\b", why) else Failure("index", detail=reason(why))
    if versions not in ("", "none"):
        return Failure("no_version", requirement, ", ".join(versions.split(", ")[-10:]))
    # Why links were skipped: each is a line with the link in it.
    lines = re.findall(r"(?:Skipping link: |Link requires)[^\n]+", log)
    skipped = "\n".join(line for line in lines if name in normal(line))
    if re.search(r"wheel's tags|Requires-Python|different Python", skipped):
        return Failure("no_wheel", name, TAGS)
    if "No sources permitted" in skipped:
        return Failure("source_only", name)
    return Failure("unknown", name)


def reason(text):
    """What a library said of a connection, without its wrapping. Of a URL, which may hold a key, only the host."""
    text = re.sub(r"\s+", " ", text).strip()
    caused = re.search(r"Caused by \w+\((.*)\)\)", text)
    text = re.sub(r"<[^<>]*>[:,]? ", "", caused[1]).strip("'\"") if caused else text
    return re.sub(r"(https?://)(?:[^@/\s]*@)?([^/\s]+)\S*", r"\1\2", text)


def locked():
    """What pip installed, from its report, each with what `import` finds of it."""
    with open(REPORT) as report:
        items = json.load(report)["install"]
    found = {normal(one.metadata["Name"]): modules(one) for one in importlib.metadata.distributions(path=[TARGET])}
    lock = []
    for item in items:
        name, archive = normal(item["metadata"]["name"]), item["download_info"].get("archive_info", {})
        if item["is_direct"]:
            raise Failure("elsewhere", name)
        # Older ones have `hash`, newer ones `hashes`.
        sha256 = archive.get("hashes", {}).get("sha256") or (archive.get("hash") or "").partition("sha256=")[2]
        if not sha256:
            raise Failure("other", detail="the index gives no SHA-256 of %s" % name)
        version, own = item["metadata"]["version"], found.get(name, [])
        lock.append({"name": name, "version": version, "sha256": sha256, "modules": own})
    return sorted(lock, key=lambda one: one["name"])


def modules(distribution):
    found, endings = set(), tuple(importlib.machinery.EXTENSION_SUFFIXES)
    for path in distribution.files or []:
        if len(path.parts) == 1 and (path.suffix == ".py" or path.name.endswith(endings)):
            found.add(path.name.partition(".")[0])
        elif len(path.parts) == 2 and path.name == "__init__.py":
            found.add(path.parts[0])
    return sorted(name for name in found if name.isidentifier() and not name.startswith("_"))


class Frames(io.RawIOBase):
    """A file whose content goes out in frames, and is counted."""

    def __init__(self, limit):
        self.limit, self.bytes, self.hash = limit, 0, hashlib.sha256()

    def writable(self):
        return True

    def write(self, data):
        data = bytes(data)
        self.bytes += len(data)
        self.hash.update(data)
        if self.bytes > self.limit:
            raise Failure("too_large", detail="the archive of the packages")
        send(ARCHIVE, data)
        return len(data)


def files():
    """Every file to send, in order: no byte of an archive depends on when and where it was made."""
    for folder, folders, names in os.walk(TARGET):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        top = folder == TARGET
        for name in sorted(names):
            path = os.path.join(folder, name)
            # Files named so run when an interpreter starts, wherever they are put.
            if (top and name.endswith(".pth")) or (folder.endswith(".dist-info") and name in NOTES):
                continue
            yield path
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                raise Failure("unsafe", detail="a link, %s" % name)


def send_archive(order):
    frames, count, size = Frames(order["max_archive_bytes"]), 0, 0
    buffered = io.BufferedWriter(frames, CHUNK)
    zipped = gzip.GzipFile("", "wb", 4, buffered, mtime=0)
    with zipped, tarfile.open(mode="w|", fileobj=zipped, format=tarfile.PAX_FORMAT) as archive:
        for path in files():
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode):
                raise Failure("unsafe", detail="%s is not a file" % path)
            count, size = count + 1, size + status.st_size
            if count > order["max_files"] or size > order["max_bytes"]:
                raise Failure("too_large", detail="the files of the packages")
            entry = tarfile.TarInfo(os.path.relpath(path, TARGET))
            entry.size, entry.mode = status.st_size, 0o755 if status.st_mode & 0o100 else 0o644
            with open(path, "rb") as content:
                archive.addfile(entry, content)
    buffered.flush()
    return {"sha256": frames.hash.hexdigest(), "bytes": frames.bytes}


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    try:
        order = json.loads(receive(ORDER, ORDER_SECONDS))
        try:
            run_pip(order)
            lock = locked()
            abi = "%s %s" % (sysconfig.get_config_var("SOABI"), sysconfig.get_platform())
            kind, answer = INSTALLED, {"lock": lock, "abi": abi, **send_archive(order)}
        except Failure as failure:
            kind, answer = FAILED, failure.answer
        except (OSError, ValueError, KeyError) as error:
            kind, answer = FAILED, Failure("other", detail="%s: %s" % (type(error).__name__, error)).answer
        send(kind, json.dumps(answer).encode())
        receive(ACK, ACK_SECONDS)
    except Gone:
        pass
    os._exit(0)


main()
