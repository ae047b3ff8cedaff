# shellcheck shell=bash
# The "node": a network namespace, a private mount namespace and cgroups of the cluster's own, and how processes are
# started in them, found again and ended. Sourced by up, down, run-on-node and self-test.

node=rockbot-node
host_ip=10.89.1.1 node_ip=10.89.1.2 host_link=rockbot-test0
pod_cidr=10.244.0.0/16 node_pod_cidr=10.244.0.0/24 pod_gateway=10.244.0.1
service_cidr=10.96.0.0/16 dns_ip=10.96.0.10
cgroup=/rockbot-test-$(sha256sum <<<"$cluster" | cut -c1-8) # a cache has one cluster, and ends no other's

# The machine-wide settings that the kubelet and Cilium change: saved by `up`, put back by `down`.
sysctls="vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys
  kernel.keys.root_maxbytes kernel.timer_migration net.core.bpf_jit_enable"
saved_sysctls=$cluster/sysctls.saved

# cgroup2: the mount point of the v2 hierarchy, which may be the only one or stand beside v1's.
cgroup2() {
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo /sys/fs/cgroup; else findmnt -rnt cgroup2 -o TARGET | head -n 1; fi
}

cgroup_mounts() { findmnt -rnt cgroup,cgroup2 -o TARGET | grep '^/sys/fs/cgroup' | sort -u; }

save_sysctls() {
	local name boot
	boot=$(cat /proc/sys/kernel/random/boot_id)
	# An earlier `up` that did not finish has saved what was there before it: keep that, unless a reboot reset it.
	if grep -qs "^# $boot" "$saved_sysctls"; then return; fi
	{
		echo "# $boot"
		for name in $sysctls; do
			[ ! -r "/proc/sys/${name//.//}" ] || echo "$name=$(cat "/proc/sys/${name//.//}")"
		done
	} >"$saved_sysctls.tmp"
	mv "$saved_sysctls.tmp" "$saved_sysctls"
}

restore_sysctls() {
	local name value
	[ -e "$saved_sysctls" ] || return 0
	if [ "$(head -n 1 "$saved_sysctls")" = "# $(cat /proc/sys/kernel/random/boot_id)" ]; then
		while IFS='=' read -r name value; do
			case $name in '#'*) continue ;; esac
			[ "$(cat "/proc/sys/${name//.//}")" = "$value" ] || echo "$value" >"/proc/sys/${name//.//}" || say "cannot put back $name=$value"
		done <"$saved_sysctls"
	fi
	rm -f "$saved_sysctls"
}

make_cgroups() {
	local mount file controller
	for mount in $(cgroup_mounts); do
		mkdir -p "$mount$cgroup"
		# A new v1 cpuset is empty, and nothing can run in it.
		for file in cpuset.cpus cpuset.mems; do
			if [ -e "$mount/$file" ] && [ ! -e "$mount/cgroup.controllers" ]; then cat "$mount/$file" >"$mount$cgroup/$file"; fi
		done
	done
	# With v2 alone the kubelet needs the controllers in its cgroup; beside v1 there are none to hand down.
	for controller in cpuset cpu io memory pids; do
		for mount in "$(cgroup2)" "$(cgroup2)$cgroup"; do
			echo "+$controller" 2>/dev/null >"$mount/cgroup.subtree_control" || true
		done
	done
	mkdir -p "$(cgroup2)$cgroup/node"
}

# start_time PID: prints when a process started; fails for one that has ended, reaped or not.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 !~ /[ZX]/ { print $20; ok = 1 } END { exit !ok }'; }

# remember NAME PID: records a process by id and start time, so that a recycled id is never mistaken for it.
remember() { echo "$2 $(start_time "$2")" >"$run/pids/$1"; }

# pid_of NAME: prints the id of a process that this cluster started, if it still runs.
pid_of() {
	local pid start
	{ read -r pid start <"$run/pids/$1"; } 2>/dev/null || return 1
	[ "$(start_time "$pid")" = "$start" ] && echo "$pid"
}

# dead_components: prints the names of the processes that have been started and run no more.
dead_components() {
	local file
	for file in "$run"/pids/*; do
		[ ! -e "$file" ] || pid_of "${file##*/}" >/dev/null || echo "${file##*/}"
	done
}

# wait_for SECONDS WHAT COMMAND…: polls until the command succeeds; otherwise ends with where to look.
wait_for() {
	local limit=$1 what=$2 end dead
	shift 2
	end=$((SECONDS + limit))
	until ("$@") >/dev/null 2>&1; do
		dead=$(dead_components | paste -sd' ')
		[ -z "$dead" ] || die "$what: $dead has ended, see ${dead%% *}.log in $run/logs. Then start over with tests/cluster/up."
		[ $SECONDS -lt $end ] || die "$what: not after $limit s. The logs are in $run/logs; start over with tests/cluster/up."
		sleep 0.1
	done
}

# in_node COMMAND…: runs a command in the node's namespaces.
in_node() {
	local holder
	holder=$(pid_of holder) || die "the cluster's node is not running: start it with tests/cluster/up."
	nsenter -t "$holder" -n -m -- "$@"
}

# spawn NAME COMMAND…: starts a long-running process in the cluster's cgroup, logging to run/logs.
spawn() {
	local name=$1
	shift
	# shellcheck disable=SC2016
	setsid bash -c 'echo $$ >"$0" && exec "$@"' "$(cgroup2)$cgroup/node/cgroup.procs" "$@" \
		</dev/null >>"$run/logs/$name.log" 2>&1 9>&- &
	remember "$name" $!
}

# start NAME COMMAND…: the same, inside the node.
start() {
	local name=$1 holder
	shift
	holder=$(pid_of holder)
	spawn "$name" nsenter -t "$holder" -n -m -- "$@"
}

make_node() {
	! ip link show $host_link >/dev/null 2>&1 || die "the link $host_link exists: the test cluster of another cache is up. Run tests/cluster/down with its XDG_CACHE_HOME."
	make_cgroups
	mkdir -p "$data/kubelet"
	# Paths that the components have hard-coded get file systems of the node's own; the host's stay untouched.
	# shellcheck disable=SC2016
	spawn holder unshare --net --mount --propagation private -- bash -ec '
		mount --make-rshared /
		for dir in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs $dir; done
		mkdir -p /run/bpf /run/cilium /run/lock /run/netns /var/lib/cni /var/lib/kubelet
		mount -t bpf bpf /run/bpf
		mount --bind "$0" /var/lib/kubelet
		ip link set lo up
		touch /run/ready
		exec sleep infinity' "$data/kubelet"
	wait_for 5 "the node's namespaces" in_node test -e /run/ready
	local holder
	holder=$(pid_of holder)
	ip link add $host_link type veth peer name eth0 netns "$holder"
	ip addr add $host_ip/30 dev $host_link
	ip link set $host_link up
	ip route add $pod_cidr via $node_ip
	ip route add $service_cidr via $node_ip
	in_node bash -ec "
		ip addr add $node_ip/30 dev eth0
		ip link set eth0 up
		ip route add default via $host_ip
		for s in ip_forward=1 conf.all.rp_filter=0 conf.default.rp_filter=0; do
			name=\${s%=*}; echo \${s#*=} >/proc/sys/net/ipv4/\${name//.//}
		done
		# What the node itself sends (the kubelet's probes) bears Cilium's mark of the host: policies let it pass.
		# And nothing goes past the host, even if that forwards.
		nft 'table inet rockbot-node {
			chain mark-own { type filter hook output priority mangle; meta mark set mark or 0xc00; }
			chain stay-here { type filter hook postrouting priority 0; oifname eth0 ip daddr != $host_ip/30 drop; }
		}'"
}

# unmake_node: ends everything that runs in the cluster's cgroups, which only its own processes ever enter.
unmake_node() {
	local mount procs end=$((SECONDS + 20))
	mount=$(cgroup2)
	[ -d "$mount$cgroup" ] || return 0
	[ ! -e "$mount$cgroup/cgroup.kill" ] || echo 1 >"$mount$cgroup/cgroup.kill"
	while procs=$(cgroup_processes) && [ -n "$procs" ]; do
		[ $SECONDS -lt $end ] || die "processes of the cluster do not end: $procs. Look at them with ps, then run tests/cluster/down again."
		# shellcheck disable=SC2086
		kill -9 $procs 2>/dev/null || true
		sleep 0.1
	done
	if ip link show $host_link >/dev/null 2>&1; then ip link del $host_link; fi
	for mount in $(cgroup_mounts); do  # "unified" (v2) comes last: while it is there, this has not finished
		[ ! -d "$mount$cgroup" ] || find "$mount$cgroup" -depth -type d -exec rmdir {} \; || true
	done
}

cgroup_processes() {
	local mount
	for mount in $(cgroup_mounts); do
		[ ! -d "$mount$cgroup" ] || find "$mount$cgroup" -name cgroup.procs -exec cat {} + 2>/dev/null || true
	done | sort -un | grep -vx 0 || true
}
