"""A package index on loopback, with packages of every kind that is good or bad. Prints its port.

`GET /downloads` says how many files were fetched; `GET /change` puts another file behind a name that was there.
"""
import hashlib, http.server, io, re, tarfile, zipfile

FILES, state = {}, {"downloads": 0}


def wheel(name, version, requires=(), tag="py3-none-any", files=None):
    info = "%s-%s.dist-info" % (name, version)
    files = {"%s/__init__.py" % name: "version = %r\n" % version, **(files or {})}
    needs = "".join("Requires-Dist: %s\n" % one for one in requires)
    files[info + "/METADATA"] = "Metadata-Version: 2.1\nName: %s\nVersion: %s\n%s" % (name, version, needs)
    files[info + "/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: %s\n" % tag
    files[info + "/RECORD"] = "".join("%s,,\n" % path for path in [*files, info + "/RECORD"])
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    FILES["%s-%s-%s.whl" % (name, version, tag)] = content.getvalue()


def source(name, version):
    content, setup = io.BytesIO(), b"raise SystemExit('code of a package ran')"
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        entry = tarfile.TarInfo("%s-%s/setup.py" % (name, version))
        entry.size = len(setup)
        archive.addfile(entry, io.BytesIO(setup))
    FILES["%s-%s.tar.gz" % (name, version)] = content.getvalue()


wheel("pure", "1.0")
wheel("pure", "2.0")
wheel("needs_pure", "1.5", ["pure>=1"], files={"also_here.py": "", "needs_pure/_hidden.py": ""})
wheel("needs_missing", "1", ["missing>1"])
wheel("wants_old", "1", ["pure<2"])
wheel("wants_new", "1", ["pure>=2"])
wheel("elsewhere", "1", tag="cp27-cp27m-win32")
wheel("starts", "1", files={"starts.pth": "import os; os.abort()", "starts/inner.pth": "kept"})
source("source", "1.0")
# Made when somebody asks for them: that takes a while.
LARGE = {
    "huge": lambda: wheel("huge", "1", files={"huge/zeros": bytes(170 << 20)}),
    "many": lambda: wheel("many", "1", files={"many/f%d" % number: "" for number in range(20_001)}),
}


def link(file):
    return "<a href='/files/%s#sha256=%s'>%s</a>" % (file, hashlib.sha256(FILES[file]).hexdigest(), file)


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, body, kind="text/html"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        part, _, name = self.path.strip("/").partition("/")
        if part == "simple" and name == "broken":
            return self.send_error(503)
        if part == "simple":
            LARGE.pop(name, lambda: None)()
            own = [file for file in FILES if re.sub(r"[-_.]+", "-", re.match(r"(.*?)-\d", file)[1]) == name]
            links = "".join(link(file) for file in own)
            return self.answer(links.encode()) if own else self.send_error(404)
        if part == "files":
            state["downloads"] += 1
            return self.answer(FILES[name], "application/octet-stream")
        if part == "change":
            wheel("pure", "1.0", files={"pure/changed.py": ""})
        self.answer(str(state["downloads"]).encode())


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
HERE = "http://127.0.0.1:%d/files/" % server.server_port
wheel("names_source", "1", ["source @ " + HERE + "source-1.0.tar.gz"])
wheel("names_wheel", "1", ["pure @ " + HERE + "pure-1.0-py3-none-any.whl"])
print(server.server_port, flush=True)
server.serve_forever()
