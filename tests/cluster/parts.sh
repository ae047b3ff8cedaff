# shellcheck shell=bash
# How each binary of the cluster is built. A part NAME has inputs_NAME, which prints everything that decides what
# the part is, and build_NAME DIR, which fills DIR. Its key is the hash of both. Sourced by `build`.

parts="kubernetes cilium coredns helm"

go_build() { CGO_ENABLED=0 nice -n 5 go build -buildvcs=false -trimpath "$@"; }

# module PATH VERSION SUM: prints the directory of a Go module, having checked it against the pinned checksum.
module() {
	local info
	info=$(go mod download -json "$1@$2") || die "cannot fetch the Go module $1@$2: ${info:-no answer}. Check GOPROXY and the network."
	[ "$(jq -r .Sum <<<"$info")" = "$3" ] || die "$1@$2 has the checksum $(jq -r .Sum <<<"$info"), but versions.env pins $3."
	jq -r .Dir <<<"$info"
}

inputs_kubernetes() { cat "$cluster_src"/kubernetes/{go.mod,go.sum,main.go}; }
build_kubernetes() {
	local flags="-s -w" package
	for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
		flags+=" -X $package.gitVersion=$KUBERNETES_VERSION -X $package.gitMajor=1 -X $package.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")"
	done
	(cd "$cluster_src/kubernetes" && go_build -ldflags "$flags" -o "$1/kubernetes" .)
	local name
	for name in etcd kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet; do
		ln -s kubernetes "$1/$name"
	done
}

inputs_coredns() { cat "$cluster_src"/coredns/{go.mod,go.sum,main.go}; }
build_coredns() {
	(cd "$cluster_src/coredns" && go_build -ldflags "-s -w" -o "$1/coredns" .)
}

inputs_helm() { echo "$HELM_VERSION $HELM_SUM"; }
build_helm() {
	local source flags package
	source=$(module helm.sh/helm/v3 "$HELM_VERSION" "$HELM_SUM")
	flags="-s -w -X helm.sh/helm/v3/internal/version.version=$HELM_VERSION"
	for package in pkg/lint/rules pkg/chartutil; do
		flags+=" -X helm.sh/helm/v3/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/$package.k8sVersionMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")"
	done
	(cd "$source" && go_build -mod=readonly -ldflags "$flags" -o "$1/helm" ./cmd/helm)
}

inputs_cilium() { echo "$CILIUM_VERSION $CILIUM_SUM"; cat "$cluster_src"/cilium/modules_linux.sed; }
build_cilium() {
	local source=$1/source module
	module=$(module github.com/cilium/cilium "$CILIUM_VERSION" "$CILIUM_SUM")
	cp -r --no-preserve=mode "$module" "$source"
	# The agent dies where a kernel without modules has no /proc/modules; a missing file means that none is loaded.
	sed -i -f "$cluster_src/cilium/modules_linux.sed" "$source/pkg/datapath/linux/modules/modules_linux.go"
	cmp -s {"$module","$source"}/pkg/datapath/linux/modules/modules_linux.go && die "cilium/modules_linux.sed no longer changes the file that it is for."
	(cd "$source" &&
		go_build -mod=mod -ldflags "-s -w -X github.com/cilium/cilium/pkg/version.ciliumVersion=${CILIUM_VERSION#v}" -o "$1/cilium-agent" ./daemon &&
		go_build -mod=mod -ldflags "-s -w" -o "$1/cilium-cni" ./plugins/cilium-cni)
	cp -r "$source/bpf" "$1/bpf"
	mkdir "$1/crds"
	cp "$source"/pkg/k8s/apis/cilium.io/client/crds/*/*.yaml "$1/crds/"
	rm -rf "$source"
}
