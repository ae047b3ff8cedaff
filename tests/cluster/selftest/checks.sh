# shellcheck shell=bash
# The checks of the self-test. Each ends with 0, or with 1 and a line that says what was seen. Sourced by `self-test`.

# shellcheck disable=SC2154 # the namespaces' names are self-test's
selftest_src=$cluster_src/selftest

# check NAME FUNCTION ARGUMENTS…
check() {
	local name=$1 seen
	shift
	if seen=$("$@" 2>&1); then
		echo "ok   $name"
		passed=$((passed + 1))
	else
		echo "FAIL $name: ${seen:-no more is known}"
		failed=$((failed + 1))
	fi
}

make_namespace() {
	kubectl create namespace "$1" >/dev/null
	kubectl -n "$1" create configmap probe --from-file="$selftest_src/probe.py" --from-file="$selftest_src/server.py" >/dev/null
}

# pod NAMESPACE NAME APP COMMAND: prints the manifest of a pod; COMMAND is the inside of a JSON array.
pod() {
	sed "s|@NAMESPACE@|$1|; s|@NAME@|$2|; s|@APP@|$3|; s|@COMMAND@|$4|" "$selftest_src/pods.yaml.in"
}

pod_ip() { kubectl -n "$1" get pod "$2" -o jsonpath='{.status.podIP}'; }

# eventually open|blocked NAMESPACE TARGET…: a policy takes a moment to arrive; then it must hold twice in a row.
eventually() {
	local expected=$1 namespace=$2 seen held=0 end=$((SECONDS + 20))
	shift 2
	while [ $held -lt 2 ]; do
		seen=$(kubectl -n "$namespace" exec client -- python3 /probe/probe.py "$@")
		if grep -qv " $expected\$" <<<"$seen"; then
			held=0
			[ $SECONDS -lt $end ] || { echo "expected $expected, saw $(paste -sd, <<<"$seen")"; return 1; }
		else
			held=$((held + 1))
		fi
	done
}

# hammering NAMESPACE COUNT CANARY: prints the manifests of pods that try to connect from their first instruction on.
hammering() {
	local i
	for i in $(seq "$2"); do
		pod "$1" "hammer-$i" hammer "\"python3\", \"/probe/probe.py\", \"--hammer\", \"0.8\", \"tcp:$3:8080\""
		echo ---
	done
}

# hammered NAMESPACE COUNT some|none: waits for those pods and judges how many of their attempts came through.
hammered() {
	local end=$((SECONDS + 90)) messages
	until messages=$(kubectl -n "$1" get pods -l app=hammer \
		-o jsonpath='{range .items[*]}{.status.containerStatuses[0].state.terminated.message}{"\n"}{end}') &&
		[ "$(grep -c . <<<"$messages")" = "$2" ]; do
		[ $SECONDS -lt $end ] || { echo "the pods do not end: $(kubectl -n "$1" get pods)"; return 1; }
		sleep 0.3
	done
	awk -v want="$3" '{ tried += $1; opened += $2 } END {
		print opened " of " tried " attempts came through"
		exit !(tried >= 5 * NR && (want == "none" ? opened == 0 : opened > tried / 2))
	}' <<<"$messages"
}

# hammer NAMESPACE COUNT some|none CANARY
hammer() {
	hammering "$1" "$2" "$4" | kubectl apply -f - >/dev/null
	hammered "$1" "$2" "$3"
}

# hammer_early COUNT: namespace, policy and pods arrive together.
hammer_early() {
	{
		printf 'apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n---\n' "$early"
		kubectl -n "$early" create configmap probe --from-file="$selftest_src/probe.py" --dry-run=client -o yaml
		echo ---
		sed "s/^metadata: {/&namespace: $early, /" "$selftest_src/deny-all.yaml"
		echo ---
		hammering "$early" "$1" "$canary"
	} >"$scratch"
	# The pods' ServiceAccount comes a moment after the namespace.
	kubectl apply -f <(sed '/^---/q' "$scratch") >/dev/null
	kubectl -n "$early" wait --for=create serviceaccount/default --timeout=20s >/dev/null
	kubectl apply -f "$scratch" >/dev/null
	hammered "$early" "$1" none
}

# as_token TOKEN ARGUMENTS…: kubectl with a token and no client certificate.
as_token() {
	local token=$1 server
	shift
	server=$(kubectl config view --raw -o jsonpath='{.clusters[0].cluster.server}')
	kubectl config view --raw -o jsonpath='{.clusters[0].cluster.certificate-authority-data}' | base64 -d >"$scratch.ca"
	KUBECONFIG=/dev/null "$(tool kubectl)" --server "$server" --token "$token" --certificate-authority "$scratch.ca" "$@"
}

# refused PATTERN COMMAND…: the command must fail and its message must match.
refused() {
	local pattern=$1 said
	shift
	if said=$("$@" 2>&1); then
		echo "was allowed: $*"
		return 1
	fi
	grep -q "$pattern" <<<"$said" || { echo "refused otherwise: $said"; return 1; }
}

rbac_refuses() {
	local token verb
	token=$(kubectl -n "$policies" create token default)
	for verb in pods secrets nodes; do
		refused 'is forbidden' as_token "$token" -n "$policies" get "$verb" || return 1
	done
	[ "$(as_token "$token" auth whoami -o jsonpath='{.status.userInfo.username}')" = "system:serviceaccount:$policies:default" ]
}

audience_holds() {
	local token review
	token=$(kubectl -n "$policies" create token default --audience selftest)
	refused 'Unauthorized\|must be logged in' as_token "$token" get --raw /api/v1/namespaces || return 1
	review=$(kubectl create -o jsonpath='{.status.authenticated} {.status.audiences[0]}' -f - <<-YAML
		apiVersion: authentication.k8s.io/v1
		kind: TokenReview
		spec: {token: $token, audiences: [selftest]}
	YAML
	)
	echo "the review says: $review"
	[ "$review" = "true selftest" ]
}

pod_security() {
	kubectl label namespace "$policies" pod-security.kubernetes.io/enforce=restricted >/dev/null
	refused 'violates PodSecurity "restricted' kubectl -n "$policies" run privileged --image none --privileged || return 1
	pod "$policies" modest modest '"true"' | kubectl apply --dry-run=server -f -
}

admission_policy() {
	local end=$((SECONDS + 20)) said
	sed "s/@NAMESPACE@/$policies/" "$selftest_src/admission-policy.yaml.in" | kubectl apply -f - >/dev/null
	# The API server needs a moment to compile it.
	until said=$(refused 'the self-test forbids this label' create_configmap forbidden); do
		[ $SECONDS -lt $end ] || { echo "$said"; return 1; }
		sleep 0.2
	done
	create_configmap harmless
}

create_configmap() {
	printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: selftest-, labels: {%s: "true"}}\n' "$1" |
		kubectl -n "$policies" create --dry-run=server -f -
}

node_restriction() {
	local name as
	name=$(kubectl get nodes -o jsonpath='{.items[0].metadata.name}')
	as=(kubectl --as "system:node:$name" --as-group system:nodes --as-group system:authenticated)
	refused 'not allowed to modify labels' "${as[@]}" label --dry-run=server node "$name" node-restriction.kubernetes.io/selftest=1 || return 1
	refused 'is not allowed to modify node\|is forbidden' "${as[@]}" annotate --dry-run=server node another-node selftest=1
}
