# Writes wherever a program might. What gets through is taken back at once.
# expect: "[]"
import sysconfig


def file(place):
    make(place + "/rockbot-attack-%d" % os.getpid())


def directory(place):
    path = place + "/rockbot-attack-%d" % os.getpid()
    os.mkdir(path)
    os.rmdir(path)


places = ["/", "/tmp", "/var/tmp", "/etc", "/usr/local/bin", "/usr/lib", "/root", "/home", "/opt", "/run", "/dev"]
places += ["/proc/self", "..", "../..", sysconfig.get_path("purelib"), sysconfig.get_path("stdlib")]
places += targets.get("directories", [])
attempts = [(kind, place) for kind in (file, directory) for place in places]
breaches({kind.__name__ + " " + place: lambda kind=kind, place=place: kind(place) for kind, place in attempts})
