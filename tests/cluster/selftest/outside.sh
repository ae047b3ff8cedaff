# shellcheck shell=bash
# A host outside the cluster for the self-test: a network namespace of the self-test's own behind the node, with the
# canary server in it. Only the default cluster can have one. Sourced by `self-test`.

outside_ip=10.89.2.2 outside_gateway=10.89.2.1
outside_pid=""

has_outside() { [ -z "${E2E_KUBECONFIG:-}" ] && [ "${CLUSTER:-}" != kind ]; }

make_outside() {
	has_outside || return 0
	local holder
	holder=$(pid_of holder)
	if in_node ip link show outside >/dev/null 2>&1; then in_node ip link del outside; fi
	unshare --net -- python3 "$selftest_src/server.py" </dev/null >/dev/null 2>&1 &
	outside_pid=$!
	# The process is in its namespace as soon as that differs from ours.
	until [ "$(readlink "/proc/$outside_pid/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
	ip link add outside netns "$holder" type veth peer name eth0 netns "$outside_pid"
	in_node ip addr add $outside_gateway/30 dev outside
	in_node ip link set outside up
	nsenter -t "$outside_pid" -n -- sh -ec "
		ip addr add $outside_ip/30 dev eth0
		ip link set eth0 up
		ip route add default via $outside_gateway"
}

remove_outside() {
	[ -z "$outside_pid" ] || kill "$outside_pid" 2>/dev/null || true # the link ends with its namespace
}

# check_outside: a check, where there is an outside.
check_outside() {
	if has_outside; then check "$@"; else say "not checked on this cluster (no host outside it): $1"; fi
}
