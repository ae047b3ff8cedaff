{{- /* What the pods of both services have in common: they pass Pod Security `restricted`. */ -}}

{{- /* The pod template's metadata. Takes a dict of root, component and values (of the component). */ -}}
{{- define "rockbot.podMetadata" -}}
labels:
  {{- include "rockbot.labels" . | nindent 2 }}
{{- with .values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The pod's own fields, all but its containers and volumes. Takes a dict of root, component, name, values and perhaps
fsGroup and gracePeriodSeconds. */ -}}
{{- define "rockbot.podSpec" -}}
serviceAccountName: {{ .name }}
automountServiceAccountToken: true
enableServiceLinks: false
{{- with .gracePeriodSeconds }}
terminationGracePeriodSeconds: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  {{- if .fsGroup }}
  # A volume that is mounted belongs to whoever runs here.
  fsGroup: 65532
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- /* The container's fields that do not depend on the program. Takes a dict of root, values and perhaps more ports. */ -}}
{{- define "rockbot.container" -}}
image: {{ include "rockbot.image" (dict "root" .root "image" .values.image) }}
imagePullPolicy: {{ .values.image.pullPolicy }}
ports:
  - name: http
    containerPort: 8080
  {{- range .ports }}
  - {{ toYaml . | nindent 4 | trim }}
  {{- end }}
startupProbe:
  httpGet:
    path: /healthz
    port: http
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /healthz
    port: http
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet:
    path: /readyz
    port: http
  periodSeconds: 2
  timeoutSeconds: 5
resources:
  {{- toYaml .values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- /* Its own name: a pod signs Leases with it, or tells what it made from what others made. */ -}}
{{- define "rockbot.podName" -}}
- name: ROCKBOT_POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}

{{- /* Where a service sends traces and metrics, in OpenTelemetry's own variables. Takes a dict of root and name. */ -}}
{{- define "rockbot.telemetry" -}}
{{- with .root.Values.telemetry.otlp }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
{{- with .headersSecret }}
{{- if .name }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
- name: OTEL_SERVICE_NAME
  value: {{ $.name }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.namespace.name={{ $.root.Release.Namespace }}
- name: OTEL_TRACES_SAMPLER
  value: {{ .tracesSampler }}
{{- with .tracesSamplerArg }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ . | quote }}
{{- end }}
- name: OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT
  value: {{ .captureMessageContent | quote }}
{{- end }}
{{- end }}
{{- end }}
