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

{{- /* The pod's own fields, all but its containers and volumes. Takes a dict of root, component, name, values and perhaps fsGroup. */ -}}
{{- define "rockbot.podSpec" -}}
serviceAccountName: {{ .name }}
automountServiceAccountToken: true
enableServiceLinks: false
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
