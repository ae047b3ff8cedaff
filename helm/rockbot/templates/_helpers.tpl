{{- /* Names and labels: nothing else in this chart formats one. */ -}}

{{- define "rockbot.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- /* The release's name, with the chart's name unless it says so itself. Short enough for every suffix below. */ -}}
{{- define "rockbot.fullname" -}}
{{- $name := include "rockbot.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $full | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "rockbot.operator" -}}
{{ include "rockbot.fullname" . }}-operator
{{- end }}

{{- /*
The operator's permissions in every namespace. Their name does not follow the release: helm refuses a second release, whose
operator would work on the Agents of the first one.
*/ -}}
{{- define "rockbot.operatorOfCluster" -}}
rockbot-operator
{{- end }}

{{- define "rockbot.scriptsManager" -}}
{{ include "rockbot.fullname" . }}-scripts-manager
{{- end }}

{{- /* Labels of every object. Takes a dict of root and component. */ -}}
{{- define "rockbot.labels" -}}
{{ include "rockbot.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: rockbot
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* What selects a component's pods: a Deployment's selector can never change, so no version is in it. */ -}}
{{- define "rockbot.selector" -}}
app.kubernetes.io/name: {{ include "rockbot.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- /* An image's reference. Takes a dict of root and image. */ -}}
{{- define "rockbot.image" -}}
{{- $name := list .image.registry .image.repository | compact | join "/" }}
{{- if .image.digest -}}
{{ $name }}@{{ .image.digest }}
{{- else -}}
{{ $name }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{- /* The namespace of script pods: their own, never the one in which the release keeps its services. */ -}}
{{- define "rockbot.scriptsNamespace" -}}
{{- if eq .Values.scripts.namespace .Release.Namespace }}
{{- fail (printf "scripts.namespace: %q is the namespace of this release; scripts need one of their own, for example rockbot-scripts" .Release.Namespace) }}
{{- end }}
{{- .Values.scripts.namespace }}
{{- end }}
