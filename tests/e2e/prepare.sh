# shellcheck shell=bash
# A cluster with everything on it that the end-to-end tests and the benchmark need. Sourced from the repository's root.

cache=$(realpath -m "${XDG_CACHE_HOME:-$HOME/.cache}/rockbot")
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}

say() { printf '%s\n' "$*" >&2; }

# Holds a lock until the script ends: the release and its definitions are there once for the whole cluster, and one run's
# upgrade or uninstall would be another one's failure.
only_run() {
	mkdir -p "$cache"
	exec 8>"$cache/e2e.lock"
	if ! flock --nonblock 8; then
		say "another run uses the cluster: waiting for its end"
		flock --timeout 1800 8 || {
			say "error: it did not end within 30 minutes; see who holds $cache/e2e.lock"
			exit 1
		}
	fi
}

prepare_cluster() {
	local image product archive
	local -a archives
	only_run
	say "== cluster"
	# The cluster outlives this run and must not hold its lock.
	tests/cluster/up 8>&-
	tests/cluster/self-test 8>&-
	say "== release binaries"
	# One set of packages for every release build: another set unifies other features, and everything is built again.
	make --no-print-directory build
	# The chart's admission policy quotes the programs of script pods, and an old quotation refuses every pod.
	UPDATE=1 cargo test --quiet --package rockbot-sandbox --test pod >/dev/null
	if [ -n "${E2E_KUBECONFIG:-}" ]; then
		say "== images: that cluster pulls them by itself"
		return
	fi
	say "== images"
	# Assigned one by one: a build that fails ends the run, and no test sees the images of the build before.
	product=$(tests/images/build-product)
	mapfile -t archives <<<"$product"
	for image in python test-mcp-everything test-package-index test-postgres; do
		archive=$(tests/images/build "$image" | tail -n 1)
		archives+=("$archive")
	done
	tests/cluster/load-image "${archives[@]}"
}
