{{/* Names. The release's name stands in front unless it says pratique itself. */}}
{{- define "pratique.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "pratique.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "pratique.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name of what is not namespaced. Two releases of one name in two
namespaces must not share it. */}}
{{- define "pratique.clusterName" -}}
{{- $name := include "pratique.fullname" . -}}
{{- if eq $name .Release.Namespace -}}
{{- $name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Namespace $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that a selector may use, of the component: (list . "serve"). */}}
{{- define "pratique.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "pratique.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "pratique.labels" -}}
{{- $root := index . 0 -}}
{{ include "pratique.selector" . }}
app.kubernetes.io/part-of: pratique
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The reference of an image: repository with tag, or with digest. */}}
{{- define "pratique.image" -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag }}{{- end -}}
{{- end -}}

{{- define "pratique.keysSecret" -}}
{{- default (printf "%s-keys" (include "pratique.fullname" .)) .Values.keys.existingSecret -}}
{{- end -}}

{{- define "pratique.admissionName" -}}
{{- include "pratique.fullname" . }}-admission
{{- end -}}

{{- define "pratique.redisName" -}}
{{- include "pratique.fullname" . }}-redis
{{- end -}}

{{/* The Secret that holds the webhook's certificate. */}}
{{- define "pratique.admissionSecret" -}}
{{- include "pratique.admissionName" . }}-tls
{{- end -}}

{{/* The Secret that holds the certificate of registry and API, or nothing. */}}
{{- define "pratique.serveSecret" -}}
{{- if .Values.serve.tls.certManager.enabled -}}
{{- include "pratique.fullname" . }}-tls
{{- else -}}
{{- .Values.serve.tls.existingSecret -}}
{{- end -}}
{{- end -}}

{{- define "pratique.scheme" -}}
{{- if include "pratique.serveSecret" . -}}https{{- else -}}http{{- end -}}
{{- end -}}

{{/* The registry as people and nodes write it. */}}
{{- define "pratique.host" -}}
{{- default (printf "%s.%s.svc:%v" (include "pratique.fullname" .) .Release.Namespace .Values.serve.service.registryPort) .Values.serve.host -}}
{{- end -}}

{{- define "pratique.apiURL" -}}
{{- default (printf "%s://%s.%s.svc:%v" (include "pratique.scheme" .) (include "pratique.fullname" .) .Release.Namespace .Values.serve.service.apiPort) .Values.serve.externalURL -}}
{{- end -}}

{{/* Whether there is a Redis: "true" or nothing. */}}
{{- define "pratique.hasRedis" -}}
{{- if or .Values.redis.enabled .Values.redis.external.url -}}true{{- end -}}
{{- end -}}

{{- define "pratique.priorityClass" -}}
{{- if .Values.priorityClass.create -}}
{{- include "pratique.clusterName" . -}}
{{- else -}}
{{- .Values.priorityClass.name -}}
{{- end -}}
{{- end -}}

{{/* Whether `pratique system status` works without name and certificate: "true" or
nothing. */}}
{{- define "pratique.statusIsOpen" -}}
{{- if not (or (eq .Values.serve.anonymous "none") (include "pratique.serveSecret" .)) -}}true{{- end -}}
{{- end -}}

{{/* What goes together and what does not; called once, by the notes' neighbour. */}}
{{- define "pratique.check" -}}
{{- if and .Values.admission.enabled (not (include "pratique.hasRedis" .)) -}}
{{- fail "admission reads verdicts from Redis: set redis.enabled or redis.external.url, or admission.enabled=false" -}}
{{- end -}}
{{- if and .Values.redis.enabled .Values.redis.external.url -}}
{{- fail "redis.external.url is set: set redis.enabled=false as well" -}}
{{- end -}}
{{- if and (eq .Values.serve.anonymous "none") (not .Values.users.existingSecret) -}}
{{- fail "nobody could use the registry: set users.existingSecret, or serve.anonymous to pull or push" -}}
{{- end -}}
{{- if and .Values.serve.tls.certManager.enabled (not .Values.serve.tls.certManager.issuerRef.name) -}}
{{- fail "serve.tls.certManager.issuerRef.name is missing" -}}
{{- end -}}
{{- if and .Values.serve.tls.certManager.enabled .Values.serve.tls.existingSecret -}}
{{- fail "serve.tls: either existingSecret or certManager" -}}
{{- end -}}
{{- if and .Values.serve.ingress.enabled (not (or .Values.serve.ingress.registryHost .Values.serve.ingress.apiHost)) -}}
{{- fail "serve.ingress: set registryHost or apiHost" -}}
{{- end -}}
{{- if and (not .Values.admission.enforce) .Values.admission.config.anchore -}}
{{- fail "admission.config.anchore: its selectors are no dry runs: set admission.enforce=true" -}}
{{- end -}}
{{- if and .Values.admission.account.existingSecret (not .Values.admission.account.name) -}}
{{- fail "admission.account.name is missing" -}}
{{- end -}}
{{- if and (eq .Values.admission.pullSecrets.scope "named") (not .Values.admission.pullSecrets.named) -}}
{{- fail "admission.pullSecrets.scope is named: list them in admission.pullSecrets.named" -}}
{{- end -}}
{{- end -}}
