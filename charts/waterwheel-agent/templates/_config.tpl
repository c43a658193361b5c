{{- /* The agent's file. Strict: a key that the agent does not know ends it, with the key's name. */ -}}
{{- define "agent.config" -}}
hub:
  address: {{ .Values.hub.address | quote }}
  trustDomain: {{ .Values.hub.trustDomain | quote }}
  {{- if .Values.hub.ca }}
  caFile: /etc/waterwheel/hub-ca.pem
  {{- else }}
  caPin: {{ .Values.hub.caPin | quote }}
  {{- end }}
dir: /var/lib/waterwheel
listen: 127.0.0.1:9464
health:
  listen: ":9465"
{{- if .Values.metrics.enabled }}
metrics:
  listen: ":9466"
  public: true
{{- end }}
log:
  level: {{ .Values.log.level }}
  format: {{ .Values.log.format }}
stateStorage:
  root: {{ .Values.stateStorage.root | quote }}
runtime:
  kind: kubernetes
  kubernetes:
    namespace: {{ .Release.Namespace | quote }}
    secrets:
      identity: waterwheel-agent-identity
      keys: waterwheel-agent-keys
      join: waterwheel-agent-join
    records: waterwheel-agent-records
    election:
      lease: waterwheel-agent
      duration: {{ .Values.election.duration }}
      renewDeadline: {{ .Values.election.renewDeadline }}
      retryPeriod: {{ .Values.election.retryPeriod }}
    images:
      {{- range $version, $image := (include "agent.flinkImages" . | fromYaml) }}
      {{ $version | quote }}: {{ $image | quote }}
      {{- end }}
    imagePullPolicy: {{ .Values.flink.imagePullPolicy }}
    {{- if ne (float64 .Values.flink.cpuLimitFactor) 1.0 }}
    cpuLimitFactor: {{ .Values.flink.cpuLimitFactor }}
    {{- end }}
    serviceAccounts:
      jobManager: waterwheel-jobmanager
      taskManager: waterwheel-taskmanager
    lease:
      duration: {{ .Values.flink.lease.duration }}
      renewDeadline: {{ .Values.flink.lease.renewDeadline }}
      retryPeriod: {{ .Values.flink.lease.retryPeriod }}
    {{- if or .Values.podTemplate.jobManager .Values.podTemplate.taskManager }}
    podTemplate:
      {{- with .Values.podTemplate.jobManager }}
      jobManager: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.podTemplate.taskManager }}
      taskManager: {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- end }}
    {{- with .Values.flink.metricsNamespaces }}
    metricsNamespaces: {{- toYaml . | nindent 6 }}
    {{- end }}
    tenants:
      {{- range .Values.tenants }}
      {{- $storage := mergeOverwrite (deepCopy $.Values.stateStorage) (.stateStorage | default dict) }}
      {{- $settings := mergeOverwrite (deepCopy $.Values.flink.settings) (include "agent.storageSettings" $storage | fromYaml) (.settings | default dict) }}
      - name: {{ .name | quote }}
        namespace: {{ include "agent.tenantNamespace" . | quote }}
        {{- with $storage.root }}
        stateStorage:
          root: {{ . | quote }}
        {{- end }}
        {{- with $storage.credentialsSecret }}
        credentials:
          secret: {{ . | quote }}
          {{- with $storage.credentialsKeys }}
          keys: {{- toYaml . | nindent 12 }}
          {{- end }}
        {{- end }}
        {{- with .imagePullSecrets }}
        imagePullSecrets: {{- toYaml . | nindent 10 }}
        {{- end }}
        {{- with $settings }}
        settings:
          {{- range $key, $value := . }}
          {{ $key | quote }}: {{ include "agent.scalar" $value | quote }}
          {{- end }}
        {{- end }}
      {{- else }} []
      {{- end }}
{{- end }}
