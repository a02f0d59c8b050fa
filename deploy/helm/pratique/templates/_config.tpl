{{/* What serve and admission have in common, as YAML of docs/configuration.md. */}}
{{- define "pratique.commonConfig" -}}
{{- $c := dict "data_dir" "/var/lib/pratique" -}}
{{- if include "pratique.hasRedis" . -}}
{{- $redis := dict "hmac_key_file" "/run/secrets/pratique/hmac-key" -}}
{{- if .Values.redis.enabled -}}
{{- $_ := set $redis "url" (printf "redis://%s:6379/0" (include "pratique.redisName" .)) -}}
{{- else -}}
{{- $_ := set $redis "url" .Values.redis.external.url -}}
{{- end -}}
{{- if or .Values.redis.enabled .Values.redis.external.auth -}}
{{- $_ := set $redis "password_file" "/run/secrets/pratique/redis-password" -}}
{{- end -}}
{{- $_ := set $c "redis" $redis -}}
{{- end -}}
{{- if .Values.policies -}}
{{- $_ := set $c "policy" (dict "dir" "/etc/pratique/policies") -}}
{{- end -}}
{{- toYaml $c -}}
{{- end -}}

{{/* The upstreams; the embedded one is also known by the name that nodes use. */}}
{{- define "pratique.upstreams" -}}
{{- $host := include "pratique.host" . -}}
{{- $all := list -}}
{{- range (.Values.config.upstreams | default list) -}}
{{- $u := deepCopy . -}}
{{- if $u.embedded -}}
{{- $_ := set $u "hostnames" (append ($u.hostnames | default list) $host | uniq) -}}
{{- end -}}
{{- $all = append $all $u -}}
{{- end -}}
{{- toYaml (dict "upstreams" $all) -}}
{{- end -}}

{{/* The configuration of serve. */}}
{{- define "pratique.serveConfig" -}}
{{- $c := include "pratique.commonConfig" . | fromYaml -}}
{{- $registry := dict "listen" "0.0.0.0:5000" -}}
{{- $api := dict "listen" "0.0.0.0:8228" "external_url" (include "pratique.apiURL" .) -}}
{{- if include "pratique.serveSecret" . -}}
{{- $tls := dict "cert" "/run/secrets/tls/tls.crt" "key" "/run/secrets/tls/tls.key" -}}
{{- $_ := set $registry "tls" $tls -}}
{{- $_ := set $api "tls" $tls -}}
{{- end -}}
{{- $auth := dict "anonymous" .Values.serve.anonymous "token" (dict "key_file" "/run/secrets/pratique/token-key") -}}
{{- if .Values.users.existingSecret -}}
{{- $_ := set $auth "users_file" (printf "/run/secrets/users/%s" .Values.users.key) -}}
{{- end -}}
{{- $_ := set $c "registry" $registry -}}
{{- $_ := set $c "api" $api -}}
{{- $_ := set $c "auth" $auth -}}
{{- $_ := set $c "log" (dict "format" "json") -}}
{{- $c = mergeOverwrite $c (deepCopy .Values.config) (include "pratique.upstreams" . | fromYaml) -}}
{{- toYaml $c -}}
{{- end -}}

{{/* The configuration of admission: what decides, and nothing of the doors that
serve has. */}}
{{- define "pratique.admissionConfig" -}}
{{- $c := include "pratique.commonConfig" . | fromYaml -}}
{{- $_ := set $c "log" (dict "format" "json") -}}
{{- $c = mergeOverwrite $c (pick (deepCopy .Values.config) "gate" "policy" "log") (include "pratique.upstreams" . | fromYaml) -}}
{{- $_ := set $c "admission" (include "pratique.admissionSection" . | fromYaml) -}}
{{- toYaml $c -}}
{{- end -}}

{{/* The section admission: of the configuration. All that the chart knows of its
keys stands here, and in the two below. */}}
{{- define "pratique.admissionSection" -}}
{{- $own := .Values.admission -}}
{{- $a := dict "listen" "0.0.0.0:8443" "cluster" $own.cluster "metrics" "0.0.0.0:8081" "exempt_namespaces" (include "pratique.exempt" . | fromYamlArray) -}}
{{- if $own.tls.certManager.enabled -}}
{{- $_ := set $a "tls" (dict "cert" "/run/secrets/tls/tls.crt" "key" "/run/secrets/tls/tls.key") -}}
{{- end -}}
{{- if $own.mutate -}}
{{- $_ := set $a "mutation" (dict "pin" true) -}}
{{- end -}}
{{- $_ := set $a "kubernetes" (include "pratique.admissionKubernetes" . | fromYaml) -}}
{{- $a = mergeOverwrite $a (include "pratique.admissionServe" . | fromYaml) (deepCopy $own.config) -}}
{{- if not $own.enforce -}}
{{- /* Nothing is refused: every selector is a dry run, and so is what no selector
matches. */ -}}
{{- $all := list -}}
{{- range $a.selectors | default (list (dict "match" (dict "type" "image" "value" ".*"))) -}}
{{- $all = append $all (merge (dict "dry_run" true) .) -}}
{{- end -}}
{{- $_ := set $a "selectors" $all -}}
{{- $_ := set $a "no_selector" "warn" -}}
{{- $_ := set $a "unread_kinds" "warn" -}}
{{- end -}}
{{- toYaml $a -}}
{{- end -}}

{{/* What admission does in the cluster; its rights are in admission/rbac.yaml. */}}
{{- define "pratique.admissionKubernetes" -}}
{{- $own := .Values.admission -}}
{{- $k := dict "pull_secrets" (ne $own.pullSecrets.scope "none") "events" $own.events -}}
{{- if not $own.tls.certManager.enabled -}}
{{- $hook := list (include "pratique.clusterName" .) -}}
{{- $certificates := dict "namespace" .Release.Namespace "service" (include "pratique.admissionName" .) "secret" (include "pratique.admissionSecret" .) "validating" $hook -}}
{{- if $own.mutate -}}
{{- $_ := set $certificates "mutating" $hook -}}
{{- end -}}
{{- $_ := set $k "certificates" $certificates -}}
{{- end -}}
{{- $kinds := dict "none" "none" "wgpolicyk8s.io" "policyreport" "openreports.io" "openreports" -}}
{{- $_ := set $k "leader" (dict "namespace" .Release.Namespace "lease" (include "pratique.admissionName" .)) -}}
{{- $_ := set $k "exceptions" (dict "enabled" $own.exceptions) -}}
{{- $_ := set $k "inventory" (dict
  "events" $own.events
  "reports" (get $kinds $own.reports)
  "eviction" (dict "enabled" $own.eviction)) -}}
{{- toYaml $k -}}
{{- end -}}

{{/* How admission reaches serve: the API where Redis cannot say, and the registry for
tags of the images that are in it. */}}
{{- define "pratique.admissionServe" -}}
{{- $account := .Values.admission.account -}}
{{- $service := printf "%s://%s.%s.svc" (include "pratique.scheme" .) (include "pratique.fullname" .) .Release.Namespace -}}
{{- $engine := dict "url" (printf "%s:%v" $service .Values.serve.service.apiPort) -}}
{{- $proxy := dict "address" (printf "%s:%v" $service .Values.serve.service.registryPort) -}}
{{- if $account.existingSecret -}}
{{- $_ := set $engine "user" $account.name -}}
{{- $_ := set $engine "password_file" "/run/secrets/account/password" -}}
{{- /* Over plain HTTP no registry is shown a password. */ -}}
{{- if include "pratique.serveSecret" . -}}
{{- $_ := set $proxy "credentials" (dict "type" "basic" "username" $account.name "password_file" "/run/secrets/account/password") -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "engine" $engine "resolver" (dict "proxies" (dict (include "pratique.host" .) $proxy))) -}}
{{- end -}}

{{/* Namespaces that are never asked about: by the API server, and not by the
program either. */}}
{{- define "pratique.exempt" -}}
{{- concat (list .Release.Namespace "kube-system" "kube-public" "kube-node-lease") .Values.admission.namespaces.exempt | uniq | toYaml -}}
{{- end -}}
