# Reads what belongs to the user, to root and to other programs.
# expect: "[]"
names = ["/etc/shadow", "/etc/sudoers", "/etc/ssh/ssh_host_rsa_key", "/root/.ssh/id_rsa", "/root/.bash_history"]
names += ["/proc/1/environ", "/proc/kcore", "/proc/kallsyms.old", "/var/log/syslog"]
names += ["/var/lib/kubelet/config.yaml", "/run/containerd/containerd.sock", *targets.get("files", [])]
actions = {name: lambda name=name: open(name, "rb").read(1) for name in names}
breaches(actions)
