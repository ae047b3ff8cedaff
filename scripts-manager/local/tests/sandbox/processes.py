# What the standard library has processes share. Prints the names of what does not work here.
import concurrent.futures, multiprocessing
from multiprocessing import shared_memory

context = multiprocessing.get_context("fork")


def square(n):
    return n * n


def pipe():
    ours, theirs = context.Pipe()
    child = context.Process(target=lambda: theirs.send(square(3)))
    child.start()
    assert ours.recv() == 9
    child.join()


def lock():
    with context.Lock():
        pass


def queue():
    numbers = context.Queue()
    child = context.Process(target=lambda: numbers.put(square(3)))
    child.start()
    assert numbers.get(timeout=20) == 9
    child.join()


def pool():
    with context.Pool(2) as workers:
        assert workers.map(square, range(4)) == [0, 1, 4, 9]


def executor():
    with concurrent.futures.ProcessPoolExecutor(2, context) as workers:
        assert list(workers.map(square, range(4))) == [0, 1, 4, 9]


def memory():
    block = shared_memory.SharedMemory(create=True, size=1)
    child = context.Process(target=lambda: block.buf.__setitem__(0, square(3)))
    child.start()
    child.join()
    assert block.buf[0] == 9
    block.close()
    block.unlink()


def array():
    numbers = context.RawArray("i", 1)
    child = context.Process(target=lambda: numbers.__setitem__(0, square(3)))
    child.start()
    child.join()
    assert numbers[0] == 9


def manager():
    with context.Manager() as shared:
        numbers = shared.list([square(3)])
        assert list(numbers) == [9]


missing = []
for way in (pipe, lock, queue, pool, executor, memory, array, manager):
    try:
        way()
    except (OSError, EOFError):
        missing.append(way.__name__)
print(*missing)
