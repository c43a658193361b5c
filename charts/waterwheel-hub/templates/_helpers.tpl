{{- /* The objects' names are fixed: one hub a namespace. */ -}}
{{- define "hub.name" -}}waterwheel-hub{{- end }}

{{- define "hub.selector" -}}
app.kubernetes.io/name: waterwheel-hub
app.kubernetes.io/instance: {{ .Release.Name | trunc 63 | trimSuffix "-" | quote }}
{{- end }}

{{- define "hub.labels" -}}
{{ include "hub.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: waterwheel
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "hub.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "hub.agentsAddress" -}}
{{ .Values.agentsAddress | default (printf "waterwheel-hub-agents.%s.svc:%d" .Release.Namespace (int .Values.service.agents.port)) }}
{{- end }}

{{- define "hub.adminAddress" -}}
{{ .Values.adminAddress | default (printf "waterwheel-hub-admin.%s.svc:%d" .Release.Namespace (int .Values.service.admin.port)) }}
{{- end }}

{{- /* The hub's file. Strict: a key that the hub does not know ends it, with the key's name. */ -}}
{{- define "hub.config" -}}
dir: /var/lib/waterwheel
trustDomain: {{ .Values.trustDomain | quote }}
agents:
  listen: ":7443"
  advertise: {{ include "hub.agentsAddress" . | quote }}
admin:
  listen: ":7444"
  advertise: {{ include "hub.adminAddress" . | quote }}
metrics:
  {{- if .Values.metrics.enabled }}
  listen: ":7445"
  public: true
  {{- else }}
  listen: 127.0.0.1:7445
  {{- end }}
health:
  listen: ":7446"
names:
  - localhost
  - 127.0.0.1
  - "::1"
  {{- range $service := list "agents" "admin" }}
  {{- $name := printf "waterwheel-hub-%s" $service }}
  - {{ $name }}
  - {{ $name }}.{{ $.Release.Namespace }}
  - {{ $name }}.{{ $.Release.Namespace }}.svc
  - {{ $name }}.{{ $.Release.Namespace }}.svc.cluster.local
  {{- end }}
  {{- range .Values.extraNames }}
  - {{ . | quote }}
  {{- end }}
certificateLife: {{ .Values.certificateLife }}
log:
  level: {{ .Values.log.level }}
  format: {{ .Values.log.format }}
{{- end }}

{{- define "hub.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "hub.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* What is wrong, a line each: what a schema cannot say, or would say as a pattern where people need a word. */ -}}
{{- define "hub.faults" }}
{{- if not .Values.trustDomain }}
trustDomain: name the fleet's trust domain, such as example.org; it stands in every certificate and cannot be changed later
{{- else if not (regexMatch "^[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?$" .Values.trustDomain) }}
trustDomain: {{ quote .Values.trustDomain }} is no trust domain, which is lower-case letters, digits, dots and dashes, such as example.org
{{- end }}
{{- range $key := list "agentsAddress" "adminAddress" }}
{{- $value := index $.Values $key }}
{{- $port := regexFind "[0-9]+$" $value | atoi }}
{{- if not (regexMatch "^((\\[[0-9a-fA-F:.]+\\]|[^][:/@\\s]+):[0-9]{1,5})?$" $value) }}
{{ $key }}: {{ quote $value }} is not host:port, such as hub.example.org:7443, without https://
{{- else if and $value (or (lt $port 1) (gt $port 65535)) }}
{{ $key }}: {{ quote $value }} has no port between 1 and 65535
{{- end }}
{{- end }}
{{- if not (regexMatch "^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$" .Values.certificateLife) }}
certificateLife: {{ quote .Values.certificateLife }} is no length of time, such as 24h
{{- end }}
{{- if not (regexMatch "^[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$" .Values.persistence.size) }}
persistence.size: {{ quote .Values.persistence.size }} is no size, such as 5Gi
{{- end }}
{{- if and .Values.persistence.existingClaim .Values.persistence.ephemeral }}
persistence.ephemeral: a claim is named in persistence.existingClaim; choose one
{{- end }}
{{- range $name, $s := .Values.service }}
{{- if and $s.nodePort (eq $s.type "ClusterIP") }}
service.{{ $name }}.nodePort: a Service of type ClusterIP has none; set service.{{ $name }}.type
{{- end }}
{{- if and $s.externalTrafficPolicy (eq $s.type "ClusterIP") }}
service.{{ $name }}.externalTrafficPolicy: a Service of type ClusterIP has none; set service.{{ $name }}.type
{{- end }}
{{- end }}
{{- end }}

{{- define "hub.check" -}}
{{- with include "hub.faults" . | trim }}{{ fail (printf "wrong values:\n%s\n" .) }}{{ end -}}
{{- end }}
