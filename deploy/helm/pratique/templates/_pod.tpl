{{/* The head of every Pod's spec: (list . component). */}}
{{- define "pratique.podHead" -}}
{{- $root := index . 0 -}}
{{- $own := index $root.Values (index . 1) -}}
{{- /* A Service named pratique would set PRATIQUE_PORT, which names no setting. */ -}}
enableServiceLinks: false
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with include "pratique.priorityClass" $root }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- if not $root.Values.openshift }}
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  {{- end }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with $own.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "pratique.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Mounts and volumes that serve and admission share; the configuration is in
the ConfigMap NAME-config. Volumes: (list . name key...), with the keys of
the keys' Secret that the component may read. */}}
{{- define "pratique.mounts" -}}
- name: config
  mountPath: /etc/pratique/pratique.yaml
  subPath: pratique.yaml
  readOnly: true
{{- if .Values.policies }}
- name: policies
  mountPath: /etc/pratique/policies
  readOnly: true
{{- end }}
- name: keys
  mountPath: /run/secrets/pratique
  readOnly: true
{{- range .Values.credentials }}
- name: credentials-{{ . }}
  mountPath: /run/secrets/{{ . }}
  readOnly: true
{{- end }}
{{- if .Values.caBundle.configMap }}
- name: ca-bundle
  mountPath: /etc/ssl/certs
  readOnly: true
{{- end }}
- name: tmp
  mountPath: /tmp
{{- end -}}

{{- define "pratique.volumes" -}}
{{- $root := index . 0 -}}
- name: config
  configMap:
    name: {{ index . 1 }}-config
{{- if $root.Values.policies }}
- name: policies
  configMap:
    name: {{ include "pratique.fullname" $root }}-policies
{{- end }}
- name: keys
  secret:
    secretName: {{ include "pratique.keysSecret" $root }}
    defaultMode: 0440
    items:
      {{- range slice . 2 }}
      - key: {{ . }}
        path: {{ . }}
      {{- end }}
{{- range $root.Values.credentials }}
- name: credentials-{{ . }}
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- if $root.Values.caBundle.configMap }}
- name: ca-bundle
  configMap:
    name: {{ $root.Values.caBundle.configMap }}
    items:
      - key: {{ $root.Values.caBundle.key }}
        path: ca-certificates.crt
{{- end }}
{{- end -}}
