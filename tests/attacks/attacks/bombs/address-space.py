# Reserves more addresses than it may have.
# expect local: "refused ENOMEM"
import mmap

attempt(lambda: mmap.mmap(-1, 5 << 30))
