# Crashes, to leave a core or to have a program of the node read it.
# expect: "True", signal 11
import resource

print(resource.getrlimit(resource.RLIMIT_CORE)[1] <= 1, flush=True)
os.kill(os.getpid(), signal.SIGSEGV)
