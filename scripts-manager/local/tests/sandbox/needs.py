# What ordinary scripts use, and the walls must leave alone.
import asyncio, concurrent.futures, os, pickle, socket, sqlite3, subprocess, sys, tempfile, threading

assert max(map(int, os.listdir("/proc/self/fd"))) <= 3, "0 to 2, and the list itself"
assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True).stdout == "1\n"
assert subprocess.run("echo $HOME", shell=True, capture_output=True, text=True).stdout.strip() == os.getcwd()
assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3

with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert list(pool.map(lambda n: n * n, range(4))) == [0, 1, 4, 9]


async def later():
    process = await asyncio.create_subprocess_exec("echo", "hi", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    await asyncio.sleep(0.01)
    return out


assert asyncio.run(later()) == b"hi\n"

a, b = socket.socketpair()
a.send(b"x")
assert b.recv(1) == b"x"

with tempfile.NamedTemporaryFile("w+") as file:
    assert file.name.startswith(os.getcwd())
with open("module.py", "w") as file:
    file.write("value = 5")
import module

assert module.value == 5
os.mkfifo("pipe")


class Local:
    pass


assert isinstance(pickle.loads(pickle.dumps(Local())), Local)
database = sqlite3.connect("file.db")
database.execute("create table t (n)")
assert threading.current_thread() is threading.main_thread()
assert os.readlink("/proc/self/fd/0") == "/dev/null"
print("all works")
