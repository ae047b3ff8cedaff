{{- /* Amounts of what a pod has. */ -}}

{{- /* As text. Helm takes a number of a values file for a float, and writes a large one with an exponent. */ -}}
{{- define "rockbot.quantity" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end }}

{{- /*
Bytes that a cache of packages of this size may take: a manager installs two sets beside it, each an archive of up to 64 MiB.
*/ -}}
{{- define "rockbot.packageCacheBytes" -}}
{{- $units := dict "M" 1000000 "Mi" 1048576 "G" 1000000000 "Gi" 1073741824 -}}
{{- $size := mul (regexFind "^[0-9]+" .) (get $units (regexFind "[A-Za-z]+$" .)) -}}
{{- add $size (mul 2 64 1048576) -}}
{{- end }}
