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
