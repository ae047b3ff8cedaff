# shellcheck shell=bash
# A cluster with everything on it that the end-to-end tests and the benchmark need. Sourced from the repository's root.

say() { printf '%s\n' "$*" >&2; }

prepare_cluster() {
	local -a archives
	say "== cluster"
	tests/cluster/up
	tests/cluster/self-test
	say "== release binaries"
	# One set of packages for every release build: another set unifies other features, and everything is built again.
	make --no-print-directory build
	say "== images"
	mapfile -t archives < <(tests/images/build-product && for image in python test-mcp-everything; do tests/images/build $image | tail -n 1; done)
	tests/cluster/load-image "${archives[@]}"
}
