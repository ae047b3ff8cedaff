# Unpacks a little into a lot.
# expect pod: out of memory, signal 9
import zlib

packer = zlib.compressobj(9)
packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
taken = [zlib.decompress(packed) for _ in range(600)]
