{{- /* What each container of the agent's image has in common: the Deployment's, the test's, the removal's. */ -}}
{{- define "agent.container" -}}
securityContext: {{- include "agent.containerSecurity" . | nindent 2 }}
{{- with .Values.env }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - {name: config, mountPath: /etc/waterwheel, readOnly: true}
  - {name: dir, mountPath: /var/lib/waterwheel}
{{- end }}

{{- define "agent.volumes" -}}
- name: config
  configMap: {name: waterwheel-agent-config, defaultMode: 0444}
# Nothing that matters lies here: the agent's records are objects of the cluster.
- name: dir
  emptyDir: {sizeLimit: 64Mi}
{{- end }}
