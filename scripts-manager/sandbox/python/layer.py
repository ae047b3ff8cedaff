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
