{{- /* What each container of the agent's image has in common: the Deployment's, the test's, the removal's. */ -}}
{{- define "agent.container" -}}
env:
  - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
  {{- with .Values.env }}{{ toYaml . | nindent 2 }}{{ end }}
securityContext: {{- include "agent.containerSecurity" . | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - {name: config, mountPath: /etc/waterwheel, readOnly: true}
  - {name: join, mountPath: /run/waterwheel/join, readOnly: true}
  - {name: dir, mountPath: /var/lib/waterwheel}
{{- end }}

{{- define "agent.volumes" -}}
- name: config
  configMap: {name: waterwheel-agent-config, defaultMode: 0444}
# There is no such Secret once the agent has joined.
- name: join
  secret: {secretName: waterwheel-agent-join, optional: true, defaultMode: 0440}
# Nothing that matters lies here: the agent's records are objects of the cluster.
- name: dir
  emptyDir: {sizeLimit: 64Mi}
{{- end }}
