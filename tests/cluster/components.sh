# shellcheck shell=bash
# The components of the cluster and how each is started. Sourced by `up`, after lib.sh, node.sh and pki.sh.

k8s=$cluster/bin/kubernetes cilium=$cluster/bin/cilium

# render FILE.in: prints a configuration file with its @NAMES@ filled in.
render() {
	sed -e "s|@RUN@|$run|g; s|@DATA@|$data|g; s|@NODE@|$node|g; s|@NODE_IP@|$node_ip|g; s|@DNS_IP@|$dns_ip|g" \
		-e "s|@POD_CIDR@|$pod_cidr|g; s|@NODE_POD_CIDR@|$node_pod_cidr|g; s|@POD_GATEWAY@|$pod_gateway|g" \
		-e "s|@CGROUP@|$cgroup|g; s|@CGROUP2@|$(cgroup2)|g" "$1"
}

write_configuration() {
	local file name value
	mkdir -p "$run"/{pids,logs,config,cni/conf,cni/bin,cilium/options,cilium/path,cilium/lib,pod-logs,volume-plugins} "$data"/{etcd,containerd}
	chmod 700 "$data/etcd"
	for file in "$cluster_src"/config/*.in; do
		name=${file##*/}
		render "$file" >"$run/config/${name%.in}"
	done
	mv "$run/config/cni.conflist" "$run/cni/conf/10-rockbot-test.conflist"
	ln -sf /usr/lib/cni/* "$cilium/cilium-cni" "$run/cni/bin/"
	grep -v '^#' "$run/config/cilium.conf" | while read -r name value; do
		printf %s "$value" >"$run/cilium/options/$name"
	done
	# The agent compiles BPF programs in a writable copy of their sources, with what it finds first in its PATH.
	cp -r "$cilium/bpf" "$run/cilium/lib/bpf"
	printf '#!/bin/sh\nexec clang-%s "$@" -Wno-error -Wno-shorten-64-to-32\n' "$LLVM_VERSION" >"$run/cilium/path/clang"
	printf '#!/bin/sh\nexit 0\n' >"$run/cilium/path/modprobe"
	chmod +x "$run"/cilium/path/*
	ln -s "/usr/bin/llc-$LLVM_VERSION" "$run/cilium/path/llc"
}

start_containerd() {
	start containerd containerd --config "$run/config/containerd.toml"
}

start_etcd() {
	start etcd "$k8s/etcd" --name "$node" --data-dir "$data/etcd" --unsafe-no-fsync \
		--listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
		--listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
		--initial-cluster "$node=http://127.0.0.1:2380" --log-level warn
}

start_apiserver() {
	start kube-apiserver "$k8s/kube-apiserver" --advertise-address "$node_ip" --secure-port 6443 \
		--etcd-servers http://127.0.0.1:2379 --service-cluster-ip-range "$service_cidr" --allow-privileged \
		--authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction,PodSecurity,ValidatingAdmissionPolicy \
		--client-ca-file "$pki/ca.crt" --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" \
		--service-account-issuer https://kubernetes.default.svc.cluster.local \
		--service-account-key-file "$pki/service-accounts.pub" --service-account-signing-key-file "$pki/service-accounts.key" \
		--kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
		--kubelet-client-certificate "$pki/apiserver-kubelet.crt" --kubelet-client-key "$pki/apiserver-kubelet.key" \
		--requestheader-client-ca-file "$pki/front-proxy-ca.crt" --requestheader-allowed-names front-proxy \
		--requestheader-extra-headers-prefix X-Remote-Extra- --requestheader-group-headers X-Remote-Group \
		--requestheader-username-headers X-Remote-User \
		--proxy-client-cert-file "$pki/front-proxy.crt" --proxy-client-key-file "$pki/front-proxy.key" \
		--audit-policy-file "$cluster_src/config/audit-policy.yaml" --audit-log-path "$run/audit.log" \
		--audit-log-maxsize 200 --audit-log-maxbackup 2 --event-ttl 1h
}

start_controllers() {
	start kube-controller-manager "$k8s/kube-controller-manager" --leader-elect=false --bind-address 127.0.0.1 \
		--kubeconfig "$run/kube-controller-manager.kubeconfig" --use-service-account-credentials \
		--authentication-kubeconfig "$run/kube-controller-manager.kubeconfig" \
		--authorization-kubeconfig "$run/kube-controller-manager.kubeconfig" \
		--root-ca-file "$pki/ca.crt" --service-account-private-key-file "$pki/service-accounts.key" \
		--flex-volume-plugin-dir "$run/volume-plugins" --kube-api-qps 200 --kube-api-burst 400
	start kube-scheduler "$k8s/kube-scheduler" --leader-elect=false --bind-address 127.0.0.1 \
		--kubeconfig "$run/kube-scheduler.kubeconfig" --authentication-kubeconfig "$run/kube-scheduler.kubeconfig" \
		--authorization-kubeconfig "$run/kube-scheduler.kubeconfig" --kube-api-qps 200 --kube-api-burst 400
}

start_node_agents() {
	start kubelet "$k8s/kubelet" --config "$run/config/kubelet.yaml" --kubeconfig "$run/kubelet.kubeconfig" \
		--hostname-override "$node" --node-ip "$node_ip" --root-dir /var/lib/kubelet
	start kube-proxy "$k8s/kube-proxy" --config "$run/config/kube-proxy.yaml"
	start coredns "$cluster/bin/coredns/coredns" -conf "$run/config/Corefile"
}

start_cilium() {
	start cilium env "PATH=$run/cilium/path:$PATH" "K8S_NODE_NAME=$node" \
		"$cilium/cilium-agent" --config-dir "$run/cilium/options"
}

cilium_crds() {
	local name
	for name in networkpolicies clusterwidenetworkpolicies nodes endpoints identities cidrgroups podippools \
		loadbalancerippools l2announcementpolicies; do
		printf -- '---\n'
		cat "$cilium/crds/cilium$name.yaml"
	done
}

cilium_healthy() { in_node curl -sf -H brief:true "http://127.0.0.1:9879/healthz"; }
dns_ready() { in_node curl -sf http://127.0.0.1:8181/ready; }
api_ready() { kubectl get --raw /readyz; }
node_ready() { kubectl wait --for=condition=Ready "node/$node" --timeout=0s; }
