{{- /* Rules that several NetworkPolicies share. Each is an item of an `egress` or `ingress` list. */ -}}

{{- /* Names are looked up at the cluster's DNS pods, or where networkPolicy.dnsCIDRs says. */ -}}
{{- define "rockbot.egressDNS" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchLabels:
          k8s-app: kube-dns
    {{- range .Values.networkPolicy.dnsCIDRs }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
  ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end }}

{{- /*
The API server is not a pod, and its address is unknown here: without networkPolicy.apiServerCIDRs its ports are open to
every destination. A rule without `to` also means the nodes themselves, which some engines exclude from every ipBlock.
*/ -}}
{{- define "rockbot.egressAPIServer" -}}
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
  {{- with .Values.networkPolicy.apiServerCIDRs }}
  to:
    {{- range . }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
  {{- end }}
{{- end }}

{{- /*
Agent pods of every namespace: who they are is their token's business, not the network's. And whoever scrapes metrics;
both come to the one port that a service has.
*/ -}}
{{- define "rockbot.ingress" -}}
- from:
    - namespaceSelector: {}
      podSelector:
        matchLabels:
          app.kubernetes.io/component: agent
          app.kubernetes.io/managed-by: rockbot-operator
    {{- with .Values.metrics.from }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - port: 8080
      protocol: TCP
{{- end }}

{{- /* Every address of the public internet: the private ranges are not part of it. */ -}}
{{- define "rockbot.publicInternet" -}}
- ipBlock:
    cidr: 0.0.0.0/0
    except: [0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16]
{{- end }}

{{- /*
The receiver of traces and metrics, wherever its name says that it is: as the operator decides it for agents. A name must be
looked up; an address need not.
*/ -}}
{{- define "rockbot.egressTelemetry" -}}
{{- $url := urlParse .Values.telemetry.otlp.endpoint -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- $labels := splitList "." (lower $url.hostname) -}}
{{- /* Before `svc` are a Service and its namespace, and a pod before these where it is one of a headless Service. */ -}}
{{- $namespace := "" -}}
{{- range $index, $label := $labels }}
{{- if and (eq $label "svc") (gt $index 1) }}{{ $namespace = index $labels (sub $index 1) }}{{ end }}
{{- end -}}
{{- $mayBeNamespace := ternary (last $labels) $namespace (eq (len $labels) 2) -}}
{{- if regexMatch "^[0-9.]+$|:" $url.hostname }}
- to:
    - ipBlock:
        cidr: {{ $url.hostname }}/{{ ternary "128" "32" (contains ":" $url.hostname) }}
  ports:
    - port: {{ $port }}
      protocol: TCP
{{- else }}
{{- with $mayBeNamespace }}
# A Service's port says nothing about its pods' port.
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ . | quote }}
{{- end }}
{{- if not $namespace }}
- to:
    {{- include "rockbot.publicInternet" . | nindent 4 }}
    {{- range .Values.networkPolicy.modelEgressCIDRs }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
  ports:
    - port: {{ $port }}
      protocol: TCP
{{- end }}
{{- end }}
{{- end }}
