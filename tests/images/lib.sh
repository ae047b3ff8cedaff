# shellcheck shell=bash
# Making OCI archives with buildah, kept in the cache under the hash of what they are made from. Sourced.

images_src=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(realpath -m "${XDG_CACHE_HOME:-$HOME/.cache}/rockbot")
images=$cache/images

say() { printf '%s\n' "$*" >&2; }

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# hash_of PATH...: the hash of files and directories: names, permissions, link targets and contents.
hash_of() {
	local path
	for path in "$@"; do
		[ -e "$path" ] || die "no such file: $path"
		# %P leaves the path itself out: where a tree lies does not matter.
		find -L "$path" -printf '%M %P\n' | sort
		find -L "$path" -type f -print0 | sort -z | xargs -0 -r sha256sum | cut -d' ' -f1
	done | sha256sum | cut -c1-16
}

# archive_image DOCKERFILE CONTEXT TAG ARCHIVE [BASE]: builds an image and writes it as an OCI archive.
# BASE is the archive of the image that the Dockerfile starts from, unless that is scratch.
# The storage is the build's own and removed after it: nothing is left behind, builds run side by side.
archive_image() {
	local dockerfile=$1 context=$2 tag=$3 archive=$4 base=${5:-} work
	command -v buildah >/dev/null || die "buildah is missing: run tests/cluster/build, or apt-get install buildah."
	mkdir -p "$images"
	work=$(mktemp -d "$images/work.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	# Otherwise buildah leaves a lock file in /etc/cni, though nothing here has a network.
	mkdir "$work/net"
	printf '[network]\nnetwork_config_dir = "%s"\n' "$work/net" >"$work/containers.conf"
	export CONTAINERS_CONF=$work/containers.conf
	[ -z "$base" ] || buildah --storage-driver vfs --root "$work/root" --runroot "$work/run" \
		pull --quiet "oci-archive:$base" >"$work/log" 2>&1 || die "buildah could not read $base: $(cat "$work/log")"
	buildah --storage-driver vfs --root "$work/root" --runroot "$work/run" \
		bud --pull-never --quiet --isolation chroot --timestamp 0 --format oci --file "$dockerfile" --tag "$tag" "$context" >"$work/log" 2>&1 ||
		die "buildah could not build $tag: $(cat "$work/log")"
	buildah --storage-driver vfs --root "$work/root" --runroot "$work/run" \
		push --quiet "$tag" "oci-archive:$work/image.tar:$tag" >"$work/log" 2>&1 ||
		die "buildah could not write the archive of $tag: $(cat "$work/log")"
	mv "$work/image.tar" "$archive"
	rm -rf "$work"
	trap - EXIT
	say "built $tag"
}

# forget_old NAME: removes archives of an image that no build has asked for in a week.
forget_old() { find "$images" -maxdepth 1 -name "$1-????????????????.tar" -mtime +7 -delete; }
