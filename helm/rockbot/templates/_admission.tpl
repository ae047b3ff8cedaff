{{- /* What the admission policy of the scripts namespace compares pods with, and how CEL says it. */ -}}

{{- /*
Every shape of pod that the namespace lets in, as YAML, by the label app.kubernetes.io/component. Each starts from the pod
that the scripts manager makes (a generated file) and gets what the values say.
*/ -}}
{{- define "rockbot.shapes" -}}
{{- $script := include "rockbot.podOf" (dict "root" . "file" "script-pod.yaml") | fromYaml -}}
{{- $container := first $script.spec.containers -}}
{{- /* The last argument of the generated command says how strict the supervisor is. */ -}}
{{- $_ := set $container "command" (append (initial $container.command) (printf "walls=%s" .Values.scripts.walls)) -}}
{{- $settings := `^(canary=([0-9.]+|\[[0-9a-f:.]+\]):8081|preload=[A-Za-z0-9_.,]+)$` -}}
script:
  {{- include "rockbot.shape" (dict "pod" $script "name" "^script-[0-9a-f]{16}$" "settings" $settings) | nindent 2 }}
{{- if .Values.scripts.packages.enabled }}
{{- $installer := include "rockbot.podOf" (dict "root" . "file" "installer-pod.yaml") | fromYaml }}
package-installer:
  {{- include "rockbot.shape" (dict "pod" $installer "name" "^packages-[0-9a-f]{16}$" "settings" "^$") | nindent 2 }}
{{- end }}
{{- end }}

{{- /* A generated pod with what the values say of every pod of the scripts namespace. Takes a dict of root and file. */ -}}
{{- define "rockbot.podOf" -}}
{{- $scripts := .root.Values.scripts -}}
{{- $pod := .root.Files.Get (printf "generated/%s" .file) | fromYaml -}}
{{- $container := first $pod.spec.containers -}}
{{- $_ := set $container "image" $scripts.image -}}
{{- $_ := set $container "resources" $scripts.resources -}}
{{- if $scripts.runtimeClassName }}{{ $_ := set $pod.spec "runtimeClassName" $scripts.runtimeClassName }}{{ end -}}
{{- if not $scripts.hostUsers }}{{ $_ := set $pod.spec "hostUsers" false }}{{ end -}}
{{ toYaml $pod }}
{{- end }}

{{- /*
A pod taken apart into what is compared, as YAML: maps that have exactly these fields, and what differs between pods as
patterns. Adds what the API server adds to every pod. Takes a dict of pod, name and settings: patterns of the pod's name and
of the arguments that may follow the command.
*/ -}}
{{- define "rockbot.shape" -}}
{{- $added := dict "serviceAccount" "default" "serviceAccountName" "default" "schedulerName" "default-scheduler" -}}
{{- $_ := merge $added (dict "priority" 0 "preemptionPolicy" "PreemptLowerPriority") -}}
{{- $addedToContainer := dict "terminationMessagePath" "/dev/termination-log" "terminationMessagePolicy" "File" -}}
{{- $container := first .pod.spec.containers -}}
name: {{ .name | toJson }}
labels: {{ .pod.metadata.labels | toJson }}
annotations: {{ keys .pod.metadata.annotations | sortAlpha | toJson }}
spec: {{ merge (omit .pod.spec "containers" "securityContext") $added | toJson }}
security: {{ omit .pod.spec.securityContext "runAsUser" "runAsGroup" | toJson }}
container: {{ merge (omit $container "command" "resources" "securityContext") $addedToContainer | toJson }}
containerSecurity: {{ $container.securityContext | toJson }}
resources: {{ $container.resources | toJson }}
command: {{ $container.command | toJson }}
settings: {{ .settings | toJson }}
{{- end }}

{{- /*
A value as CEL. A literal's parts must be of one type, so each is made dynamic; `<NAME.py>` stands for a variable that holds
a program.
*/ -}}
{{- define "rockbot.cel" -}}
{{- if kindIs "map" . -}}
{ {{- range $index, $key := keys . | sortAlpha }}{{ if $index }}, {{ end }}{{ $key | toJson }}: dyn({{ include "rockbot.cel" (get $ $key) }}){{ end -}} }
{{- else if kindIs "slice" . -}}
[ {{- range $index, $item := . }}{{ if $index }}, {{ end }}dyn({{ include "rockbot.cel" $item }}){{ end -}} ]
{{- else if and (kindIs "string" .) (regexMatch "^<[a-z]+[.]py>$" .) -}}
variables.{{ . | trimPrefix "<" | trimSuffix ".py>" }}
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end }}

{{- /*
CEL: the fields in which maps differ, as texts. Takes the name of a variable: a list of parts, each with its path, the map
that it is, the map that it shall be, and fields that are looked at elsewhere.
*/ -}}
{{- define "rockbot.celDifferences" -}}
{{ . }}.map(part, (
  part.is.filter(field, !(field in part.apart) && !(field in part.shall && part.is[field] == part.shall[field]))
  + part.shall.filter(field, !(field in part.apart) && !(field in part.is))
).map(field, part.path + "." + field).join(", ")).filter(text, text != "")
{{- end }}
