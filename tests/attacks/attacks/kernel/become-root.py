# Takes another user's rights.
# expect: "1 {0}\nrefused EPERM"
with open("/proc/self/status") as status:
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in status)}
print(fields["NoNewPrivs"], {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")})
other = 1 if os.getuid() == 0 else 0
attempt(
    lambda: os.setresuid(other, other, other),
    lambda: os.setresgid(other + 2, other, other),
    lambda: os.setgroups([4]),
)
