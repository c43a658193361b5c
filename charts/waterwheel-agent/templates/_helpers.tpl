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

{{- /* Refusals that a schema cannot say. */ -}}
{{- define "agent.check" -}}
{{- $print := "`waterwheel cluster invite NAME` prints the whole command" -}}
{{- if not .Values.hub.address }}{{ fail (printf "hub.address: name host:port of the hub's port for agents; %s" $print) }}{{ end -}}
{{- if not .Values.hub.trustDomain }}{{ fail (printf "hub.trustDomain: name the fleet's trust domain; %s" $print) }}{{ end -}}
{{- if not (or .Values.hub.caPin .Values.hub.ca) }}{{ fail (printf "hub.caPin: name the pin of the hub's root certificate, or the certificate in hub.ca; %s" $print) }}{{ end -}}
{{- if not .Values.flink.images }}{{ fail "flink.images: name an image for at least one Flink version" }}{{ end -}}
{{- $names := dict -}}{{- $spaces := dict -}}
{{- range .Values.tenants -}}
{{- $ns := include "agent.tenantNamespace" . -}}
{{- if hasKey $names .name }}{{ fail (printf "tenants: %s is there twice" .name) }}{{ end -}}
{{- if hasKey $spaces $ns }}{{ fail (printf "tenants: %s and %s cannot share the namespace %s" .name (get $spaces $ns) $ns) }}{{ end -}}
{{- if eq $ns $.Release.Namespace }}{{ fail (printf "tenants: %s cannot have the agent's own namespace %s; name another one" .name $ns) }}{{ end -}}
{{- if or (eq $ns "default") (hasPrefix "kube-" $ns) }}{{ fail (printf "tenants: %s cannot have the namespace %s, which is the cluster's; name another one" .name $ns) }}{{ end -}}
{{- $_ := set $names .name true }}{{ $_ := set $spaces $ns .name -}}
{{- end -}}
{{- end }}

{{- /* A number as it was written: templates turn a million into 1e+06. */ -}}
{{- define "agent.scalar" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end }}

{{- define "agent.hubPort" -}}{{ regexFind "[0-9]+$" .Values.hub.address | int }}{{- end }}
