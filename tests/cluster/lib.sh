# shellcheck shell=bash
# Paths, messages and locks shared by every script of the test cluster. Sourced, never run.

cluster_src=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(realpath -m "${XDG_CACHE_HOME:-$HOME/.cache}/rockbot")
cluster=$cache/cluster   # everything the test cluster keeps
bin=$cache/bin           # helm and kubectl, as links to the builds in use
run=$cluster/run         # of the running cluster: kubeconfig, logs, pids, sockets; removed by `down`
data=$cluster/data       # of the running cluster: etcd, containerd, kubelet; removed by `down`
export kubeconfig=$run/kubeconfig

# shellcheck source=versions.env
. "$cluster_src/versions.env"

case $cluster in
	/run/* | /var/run/* | /var/lib/* | /var/log/*)
		echo "error: the node covers ${cluster%/*} with a file system of its own: set XDG_CACHE_HOME to another place." >&2
		exit 1
		;;
esac

export PATH=$PATH:/usr/local/go/bin:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

need_root() {
	[ "$(id -u)" = 0 ] || die "this needs root: network namespaces, mounts and cgroups. Run it with sudo -E, or name another cluster with E2E_KUBECONFIG."
}

# lock NAME: holds the lock until this process ends; the descriptor must not reach background processes (9>&-).
lock() {
	mkdir -p "$cluster"
	exec 9>"$cluster/$1.lock"
	flock -n 9 && return
	say "another $1 is at work; waiting for it"
	flock 9
}

# tool NAME: prints where a command is: the one that `build` built, or else the one in the PATH.
tool() { if [ -e "$bin/$1" ]; then echo "$bin/$1"; else type -P "$1"; fi; }

kubectl() { "$(tool kubectl)" --kubeconfig "$kubeconfig" "$@"; }
