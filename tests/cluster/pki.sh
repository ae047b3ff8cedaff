# shellcheck shell=bash
# The certificates and kubeconfigs of a cluster: made anew by every cold start, kept in run/pki. Sourced by `up`.

pki=$run/pki

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

# make_ca NAME CN
make_ca() {
	new_key "$pki/$1.key"
	openssl req -x509 -new -key "$pki/$1.key" -days 3650 -subj "/CN=$2" -out "$pki/$1.crt"
}

# make_cert CA NAME SUBJECT USAGE [SANS]
make_cert() {
	local extensions="keyUsage=critical,digitalSignature
extendedKeyUsage=$4${5:+
subjectAltName=$5}"
	new_key "$pki/$2.key"
	openssl req -new -key "$pki/$2.key" -subj "$3" |
		openssl x509 -req -CA "$pki/$1.crt" -CAkey "$pki/$1.key" -CAcreateserial -days 3650 \
			-extfile <(echo "$extensions") -out "$pki/$2.crt" 2>/dev/null
}

# make_kubeconfig FILE CERT: everything embedded, so that the file can be copied anywhere.
make_kubeconfig() {
	cat >"$1" <<-YAML
		apiVersion: v1
		kind: Config
		clusters:
		  - name: rockbot-test
		    cluster:
		      server: https://$node_ip:6443
		      certificate-authority-data: $(base64 -w0 "$pki/ca.crt")
		users:
		  - name: $2
		    user:
		      client-certificate-data: $(base64 -w0 "$pki/$2.crt")
		      client-key-data: $(base64 -w0 "$pki/$2.key")
		contexts:
		  - name: rockbot-test
		    context: {cluster: rockbot-test, user: $2}
		current-context: rockbot-test
	YAML
}

make_pki() {
	mkdir -p "$pki"
	make_ca ca rockbot-test-ca
	make_ca front-proxy-ca rockbot-test-front-proxy-ca
	openssl genrsa -out "$pki/service-accounts.key" 2048 2>/dev/null
	openssl rsa -in "$pki/service-accounts.key" -pubout -out "$pki/service-accounts.pub" 2>/dev/null
	make_cert ca apiserver /CN=kube-apiserver serverAuth \
		"DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:${service_cidr%.0/*}.1,IP:$node_ip,IP:127.0.0.1"
	make_cert ca kubelet-server "/O=system:nodes/CN=system:node:$node" serverAuth "DNS:$node,IP:$node_ip"
	make_cert front-proxy-ca front-proxy /CN=front-proxy clientAuth
	make_cert ca apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
	local name subject
	while read -r name subject; do
		make_cert ca "$name" "$subject" clientAuth
		make_kubeconfig "$run/$name.kubeconfig" "$name"
	done <<-CLIENTS
		admin /O=system:masters/CN=kubernetes-admin
		kube-controller-manager /CN=system:kube-controller-manager
		kube-scheduler /CN=system:kube-scheduler
		kube-proxy /CN=system:kube-proxy
		kubelet /O=system:nodes/CN=system:node:$node
		coredns /CN=coredns
		cilium /O=system:masters/CN=cilium
	CLIENTS
	mv "$run/admin.kubeconfig" "$kubeconfig"
	chmod 600 "$run"/*kubeconfig "$pki"/*.key
}
