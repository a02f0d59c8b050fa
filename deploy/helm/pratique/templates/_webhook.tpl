{{/* The head of a webhook configuration: (list . kind). */}}
{{- define "pratique.webhookHead" -}}
{{- $root := index . 0 -}}
apiVersion: admissionregistration.k8s.io/v1
kind: {{ index . 1 }}
metadata:
  name: {{ include "pratique.clusterName" $root }}
  labels:
    {{- include "pratique.labels" (list $root "admission") | nindent 4 }}
  {{- if $root.Values.admission.tls.certManager.enabled }}
  annotations:
    cert-manager.io/inject-ca-from: {{ $root.Release.Namespace }}/{{ include "pratique.admissionName" $root }}
  {{- end }}
{{- end -}}

{{/* What both webhooks have in common: (list . path). caBundle is left out: who
makes the certificate writes it, and an upgrade leaves it. */}}
{{- define "pratique.webhook" -}}
{{- $root := index . 0 -}}
{{- $a := $root.Values.admission -}}
admissionReviewVersions: [v1]
clientConfig:
  service:
    name: {{ include "pratique.admissionName" $root }}
    namespace: {{ $root.Release.Namespace }}
    path: {{ index . 1 }}
    port: 443
failurePolicy: {{ $a.failurePolicy }}
timeoutSeconds: {{ $a.timeoutSeconds }}
sideEffects: NoneOnDryRun
matchPolicy: Equivalent
# By names alone: the API server gives this label itself, so whoever may edit a
# namespace cannot take it out. Other labels, and those of objects, do not exempt.
namespaceSelector:
  matchExpressions:
    - key: kubernetes.io/metadata.name
      operator: NotIn
      values:
        {{- include "pratique.exempt" $root | nindent 8 }}
    {{- with $a.namespaces.only }}
    - key: kubernetes.io/metadata.name
      operator: In
      values:
        {{- range . }}
        - {{ . }}
        {{- end }}
    {{- end }}
# Evaluated by the API server, so they hold while the webhook is down.
matchConditions:
  # What a node tells of its static Pods runs already, and must not be changed.
  - name: no-mirror-pods
    expression: >-
      !(has(request.userInfo.groups) && 'system:nodes' in request.userInfo.groups
      && has(object.metadata.annotations) && 'kubernetes.io/config.mirror' in object.metadata.annotations)
  # Labels, finalizers and replicas are nobody's business here.
  - name: images-may-have-changed
    expression: >-
      request.operation != 'UPDATE'
      || !(request.kind.group in ['', 'apps', 'batch'])
      || (has(request.subResource) && request.subResource != '')
      || (request.kind.kind == 'Pod'
      ? object.spec.containers.map(c, c.?image.orValue('')) != oldObject.spec.containers.map(c, c.?image.orValue(''))
      || object.spec.?initContainers.orValue([]).map(c, c.?image.orValue(''))
      != oldObject.spec.?initContainers.orValue([]).map(c, c.?image.orValue(''))
      : object.spec.?template != oldObject.spec.?template
      || object.spec.?jobTemplate != oldObject.spec.?jobTemplate)
rules:
  - apiGroups: [""]
    apiVersions: [v1]
    operations: [CREATE, UPDATE]
    resources: [pods, pods/ephemeralcontainers{{ if $a.workloads }}, replicationcontrollers{{ end }}]
    scope: Namespaced
  {{- if $a.workloads }}
  - apiGroups: [apps]
    apiVersions: [v1]
    operations: [CREATE, UPDATE]
    resources: [deployments, replicasets, statefulsets, daemonsets]
    scope: Namespaced
  - apiGroups: [batch]
    apiVersions: [v1]
    operations: [CREATE, UPDATE]
    resources: [jobs, cronjobs]
    scope: Namespaced
  {{- end }}
  {{- with $a.extraRules }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
