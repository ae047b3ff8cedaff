# shellcheck shell=bash
# The same cluster by kind, for those who have Docker. Sourced by up, down, load-image and run-on-node.

kind_name=rockbot-test

need_kind() {
	local name
	for name in kind docker; do
		command -v $name >/dev/null || die "CLUSTER=kind needs the commands kind and docker; without them leave CLUSTER unset."
	done
}

kind_up() {
	need_kind
	mkdir -p "$run"
	if ! kind get clusters 2>/dev/null | grep -qx "$kind_name"; then
		kind create cluster --name "$kind_name" --config "$cluster_src/kind.yaml" --wait 120s >&2
	fi
	kind get kubeconfig --name "$kind_name" >"$run/kind.kubeconfig"
	echo "$run/kind.kubeconfig"
}

kind_down() {
	need_kind
	kind delete cluster --name "$kind_name" >&2
	rm -f "$run/kind.kubeconfig"
}

kind_load_image() {
	local archive
	need_kind
	for archive in "$@"; do
		kind load image-archive --name "$kind_name" "$archive" >&2
	done
}

kind_run_on_node() {
	need_kind
	exec docker exec "$kind_name-control-plane" "$@"
}
