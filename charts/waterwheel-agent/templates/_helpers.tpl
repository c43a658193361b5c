{{- /* The objects' names are fixed: one agent a namespace, and RBAC by name. */ -}}
{{- define "agent.name" -}}waterwheel-agent{{- end }}

{{- define "agent.selector" -}}
app.kubernetes.io/name: waterwheel-agent
app.kubernetes.io/instance: {{ .Release.Name | trunc 63 | trimSuffix "-" | quote }}
{{- end }}

{{- define "agent.labels" -}}
{{ include "agent.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: waterwheel
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "agent.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* What jobs need stays when the chart goes, unless the chart was told to take the jobs along. */ -}}
{{- define "agent.keep" -}}
{{- if not .Values.removeJobsOnUninstall -}}
helm.sh/resource-policy: keep
{{- end -}}
{{- end }}

{{- define "agent.tenantNamespace" -}}{{ .namespace | default .name }}{{- end }}

{{- /* Flink's settings that a place for state implies. */ -}}
{{- define "agent.storageSettings" -}}
{{- $s := dict -}}
{{- with .endpoint }}{{ $_ := set $s "s3.endpoint" . }}{{ end -}}
{{- if .pathStyle }}{{ $_ := set $s "s3.path.style.access" "true" }}{{ end -}}
{{- with .region }}{{ $_ := set $s "s3.endpoint.region" . }}{{ end -}}
{{- toYaml $s -}}
{{- end }}

{{- /* Not defaults of values: Helm would merge them into whatever is given, and a version would be on offer that nobody named. */ -}}
{{- define "agent.flinkImages" -}}
{{- toYaml (.Values.flink.images | default (dict "2.3" "flink:2.3-java17" "1.20" "flink:1.20-java17")) -}}
{{- end }}

{{- define "agent.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "agent.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* What is wrong, a line each: what a schema cannot say, or would say as a pattern where people need a word. */ -}}
{{- define "agent.faults" }}
{{- $print := "`waterwheel cluster invite NAME` prints the whole command" -}}
{{- $label := "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" -}}
{{- with .Values.hub }}
{{- if not .address }}
hub.address: name host:port of the hub's port for agents; {{ $print }}
{{- else if not (regexMatch "^(\\[[0-9a-fA-F:.]+\\]|[^][:/@\\s]+):[0-9]{1,5}$" .address) }}
hub.address: {{ quote .address }} is not host:port, such as hub.example.org:7443, without https://; {{ $print }}
{{- else if or (lt (regexFind "[0-9]+$" .address | atoi) 1) (gt (regexFind "[0-9]+$" .address | atoi) 65535) }}
hub.address: {{ quote .address }} has no port between 1 and 65535
{{- end }}
{{- if not .trustDomain }}
hub.trustDomain: name the fleet's trust domain; {{ $print }}
{{- else if not (regexMatch "^[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?$" .trustDomain) }}
hub.trustDomain: {{ quote .trustDomain }} is no trust domain, which is lower-case letters, digits, dots and dashes, such as example.org
{{- end }}
{{- if not (or .caPin .ca) }}
hub.caPin: name the pin of the hub's root certificate, or the certificate in hub.ca; {{ $print }}
{{- end }}
{{- if not (regexMatch "^(sha256:[0-9a-f]{64})?$" (.caPin | default "")) }}
hub.caPin: {{ quote .caPin }} is no pin, which is sha256: and 64 hex digits, lower case; {{ $print }}
{{- end }}
{{- if and .ca (not (contains "-----BEGIN CERTIFICATE-----" .ca)) }}
hub.ca: has no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----
{{- end }}
{{- end }}
{{- if not (regexMatch "^(sha256:[0-9a-f]{64})?$" (.Values.image.digest | default "")) }}
image.digest: {{ quote .Values.image.digest }} is no digest, which is sha256: and 64 hex digits
{{- end }}
{{- range $version, $image := .Values.flink.images }}
{{- if not (regexMatch "^[0-9]+\\.[0-9]+$" $version) }}
flink.images: {{ quote $version }} is no Flink version, which is major.minor in quotes, such as "2.3"
{{- end }}
{{- end }}
{{- include "agent.storageFaults" (dict "at" "stateStorage" "of" .Values.stateStorage) }}
{{- $names := dict }}{{- $spaces := dict }}
{{- range $i, $_ := .Values.tenants }}
{{- $at := printf "tenants[%d]" $i }}
{{- $ns := include "agent.tenantNamespace" . }}
{{- if not (regexMatch $label .name) }}
{{ $at }}.name: {{ quote .name }} is no tenant, which is lower-case letters, digits and dashes, at most 63
{{- end }}
{{- if and .namespace (not (regexMatch $label .namespace)) }}
{{ $at }}.namespace: {{ quote .namespace }} is no namespace, which is lower-case letters, digits and dashes, at most 63
{{- end }}
{{- if hasKey $names .name }}
{{ $at }}.name: {{ .name }} is there twice
{{- else if hasKey $spaces $ns }}
{{ $at }}.namespace: {{ .name }} and {{ get $spaces $ns }} cannot share the namespace {{ $ns }}
{{- end }}
{{- if eq $ns $.Release.Namespace }}
{{ $at }}.namespace: {{ .name }} cannot have the agent's own namespace {{ $ns }}; name another one
{{- else if or (eq $ns "default") (hasPrefix "kube-" $ns) }}
{{ $at }}.namespace: {{ .name }} cannot have the namespace {{ $ns }}, which is the cluster's; name another one
{{- end }}
{{- include "agent.storageFaults" (dict "at" (printf "%s.stateStorage" $at) "of" (.stateStorage | default dict)) }}
{{- $_ := set $names .name true }}{{ $_ := set $spaces $ns .name }}
{{- end }}
{{- $duration := "^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$" }}
{{- range $group, $of := dict "flink.lease" .Values.flink.lease "election" .Values.election }}
{{- range $key, $value := $of }}
{{- if not (regexMatch $duration $value) }}
{{ $group }}.{{ $key }}: {{ quote $value }} is no length of time, such as 15s
{{- end }}
{{- end }}
{{- end }}
{{- range $key := list "hubCIDRs" "apiServerCIDRs" }}
{{- range $i, $value := index $.Values.networkPolicy $key }}
{{- if not (regexMatch "^[0-9a-fA-F.:]+/[0-9]{1,3}$" $value) }}
networkPolicy.{{ $key }}[{{ $i }}]: {{ quote $value }} is no block of addresses, such as 192.0.2.0/24
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "agent.storageFaults" }}
{{- if not (regexMatch "^([a-z][a-z0-9+.-]*://.+)?$" (.of.root | default "")) }}
{{ .at }}.root: {{ quote .of.root }} is no place in a storage, such as s3://bucket/prefix
{{- end }}
{{- if not (regexMatch "^(https?://.+)?$" (.of.endpoint | default "")) }}
{{ .at }}.endpoint: {{ quote .of.endpoint }} is no URL, such as https://storage.example.org:9000
{{- end }}
{{- end }}

{{- define "agent.check" -}}
{{- with include "agent.faults" . | trim }}{{ fail (printf "wrong values:\n%s\n" .) }}{{ end -}}
{{- end }}

{{- /* A number as it was written: templates turn a million into 1e+06. */ -}}
{{- define "agent.scalar" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end }}

{{- define "agent.hubPort" -}}{{ regexFind "[0-9]+$" .Values.hub.address | int }}{{- end }}
