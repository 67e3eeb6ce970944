{{/*
The pod's configuration file: the values' `configuration`, and what the chart decides. No secret is ever in it: those come as
variables from Secrets, or as mounted files.
*/}}

{{/* Where things are mounted. */}}
{{- define "roomcast.paths" -}}
config: /etc/roomcast
certificate: /etc/roomcast-tls
keys: /etc/roomcast-token-keys
ca: /etc/roomcast-redis-ca
home: /etc/roomcast-home-ca
{{- end -}}

{{/* What the chart decides, as JSON. It has no numbers: those would come back as floating point. */}}
{{- define "roomcast.ownConfiguration" -}}
{{- $paths := include "roomcast.paths" . | fromYaml -}}
{{- $own := dict "dev" false "internal_listen" (list (get (dict "all" ":9000" "pod" "[${POD_IP}]:9000" "loopback" "127.0.0.1:9000") (include "roomcast.internalOn" .))) -}}
{{- if .Values.tls.enabled -}}
{{- $_ := set $own "listen" (list ":8443") -}}
{{- $_ := set $own "plain_listen" (list) -}}
{{- $_ := set $own "cert" (printf "%s/tls.crt" $paths.certificate) -}}
{{- $_ := set $own "key" (printf "%s/tls.key" $paths.certificate) -}}
{{- /* Where no UDP comes in, no page is to try it. */ -}}
{{- if eq .Values.service.protocols "tcp" }}{{ $_ := set $own "webtransport" (dict "enabled" false) }}{{ end -}}
{{- else -}}
{{- $_ := set $own "listen" (list) -}}
{{- $_ := set $own "plain_listen" (list ":8080") -}}
{{- end -}}
{{- $_ := set $own "drain" (dict "delay" (printf "%ds" (int .Values.drain.delaySeconds)) "window" (printf "%ds" (int .Values.drain.windowSeconds)) "margin" (printf "%ds" (int .Values.drain.marginSeconds))) -}}
{{- with .Values.tokens.publicKeys.files -}}
{{- $files := list -}}
{{- range . }}{{ $files = append $files (printf "%s/%s" $paths.keys .) }}{{ end -}}
{{- $_ := set $own "tokens" (dict "public_keys" $files) -}}
{{- end -}}
{{- $redis := dict -}}
{{- if .Values.redis.trial.enabled -}}
{{- $_ := set $redis "urls" (list (printf "redis://%s-redis:6379" (include "roomcast.fullname" .))) -}}
{{- else if .Values.redis.urls -}}
{{- $_ := set $redis "urls" .Values.redis.urls -}}
{{- end -}}
{{- with .Values.redis.ca.file -}}
{{- $_ := set $redis "ca" (printf "%s/%s" $paths.ca .) -}}
{{- end -}}
{{- with $redis }}{{ $_ := set $own "redis" . }}{{ end -}}
{{- with .Values.upstream.urls -}}
{{- $upstream := dict "urls" . -}}
{{- with $.Values.upstream.ca.file }}{{ $_ := set $upstream "ca" (printf "%s/%s" $paths.home .) }}{{ end -}}
{{- $_ := set $own "upstream" $upstream -}}
{{- end -}}
{{- with .Values.relay -}}
{{- if .enabled }}{{ $_ := set $own "relay" (dict "listen" (list ":9443") "tls" .tls "rooms" .rooms) }}{{ end -}}
{{- end -}}
{{- with .Values.liveReload }}{{ $_ := set $own "watch_config" . }}{{ end -}}
{{- $own | toJson -}}
{{- end -}}

{{- define "roomcast.configuration" -}}
{{- $all := mergeOverwrite (deepCopy .Values.configuration) (include "roomcast.ownConfiguration" . | fromJson) -}}
{{- include "roomcast.toml.table" (dict "table" $all "path" "") | trim -}}
{{- end -}}

{{/*
What of the configuration a running pod does not take over when it changes: all of it without `liveReload`; with it, what is left without
the keys of live-keys.json. A policy is live but for its `log` and the rooms that have one: the first policy that fits a room counts, so
that those before one with a `log` decide as well.
*/}}
{{- define "roomcast.restartConfiguration" -}}
{{- $all := mergeOverwrite (deepCopy .Values.configuration) (include "roomcast.ownConfiguration" . | fromJson) -}}
{{- if .Values.liveReload -}}
{{- range $section, $keys := .Files.Get "live-keys.json" | fromJson -}}
{{- $table := $all -}}
{{- if $section }}{{ $table = get $all $section }}{{ end -}}
{{- if kindIs "map" $table -}}
{{- range $keys }}{{ $_ := unset $table . }}{{ end -}}
{{- if and $section (not $table) }}{{ $_ := unset $all $section }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $logs := list -}}
{{- $before := list -}}
{{- range $all.policy -}}
{{- $before = append $before (pick . "match" "log") -}}
{{- if .log }}{{ $logs = $before }}{{ end -}}
{{- end -}}
{{- $_ := unset $all "policy" -}}
{{- with $logs }}{{ $_ := set $all "policy" . }}{{ end -}}
{{- end -}}
{{- include "roomcast.toml.table" (dict "table" $all "path" "") | trim -}}
{{- end -}}

{{/* Where the internal port is: on `all` addresses, the `pod`'s, or `loopback`. A pod on its node's network has all those of the node. */}}
{{- define "roomcast.internalOn" -}}
{{- .Values.internalService.listen | default (ternary "pod" "all" .Values.hostNetwork) -}}
{{- end -}}

{{/* Whether `redis` says where Redis is. */}}
{{- define "roomcast.redis.set" -}}
{{- if or .Values.redis.trial.enabled .Values.redis.urls (and .Values.redis.existingSecret .Values.redis.existingSecretKeys.urls) }}yes{{ end -}}
{{- end -}}

{{/*
What pods may be given beside the values, by a flag or a variable of their own, or by what `extraEnvFrom` brings: `yes`, or empty. It takes
what `roomcast.given` takes.
*/}}
{{- define "roomcast.brought" -}}
{{- $given := include "roomcast.given" . -}}
{{- if $given }}{{ if ne $given "none" }}yes{{ end }}
{{- else if .root.Values.extraEnvFrom -}}yes
{{- end -}}
{{- end -}}

{{/* Whether `upstream`, a flag or a variable says that pods are edges. */}}
{{- define "roomcast.edge.set" -}}
{{- $given := include "roomcast.given" (dict "root" . "flag" "upstream" "variable" "ROOMCAST_UPSTREAM") -}}
{{- if or .Values.upstream.urls (not (has $given (list "" "none"))) }}yes{{ end -}}
{{- end -}}

{{/* Whether pods are edges, or may be. One with Redis is none: it would not start. */}}
{{- define "roomcast.edge" -}}
{{- $redis := include "roomcast.given" (dict "root" . "flag" "redis" "variable" "ROOMCAST_REDIS") -}}
{{- if .Values.upstream.urls -}}yes
{{- else if not (or (include "roomcast.redis.set" .) (not (has $redis (list "" "none")))) -}}
{{- include "roomcast.brought" (dict "root" . "flag" "upstream" "variable" "ROOMCAST_UPSTREAM") -}}
{{- end -}}
{{- end -}}

{{/* Whether pods are the home of edges, or may be. */}}
{{- define "roomcast.home" -}}
{{- if .Values.relay.enabled -}}yes
{{- else }}{{ include "roomcast.brought" (dict "root" . "flag" "relay-listen" "variable" "ROOMCAST_RELAY_LISTEN") }}
{{- end -}}
{{- end -}}

{{/*
Whether pods have Redis: by `redis`, else by a flag or a variable of their own, a preset, or what `extraEnvFrom` may bring. An edge has none but
what `redis` says, which is refused.
*/}}
{{- define "roomcast.redis" -}}
{{- $given := include "roomcast.given" (dict "root" . "flag" "redis" "variable" "ROOMCAST_REDIS") -}}
{{- if include "roomcast.redis.set" . -}}yes
{{- else if include "roomcast.edge.set" . -}}
{{- else if $given }}{{ if ne $given "none" }}yes{{ end }}
{{- else if or .Values.extraEnvFrom (has .Values.preset (.Files.Get "settings.json" | fromJson).presets_with_redis) -}}yes
{{- end -}}
{{- end -}}

{{/* Whether there is an archive, or may be. */}}
{{- define "roomcast.archive" -}}
{{- if or (and .Values.archive.existingSecret .Values.archive.existingSecretKeys.url) (dig "archive" "url" "" .Values.configuration) }}yes
{{- else }}{{ include "roomcast.brought" (dict "root" . "flag" "archive-url" "variable" "ROOMCAST_ARCHIVE_URL") }}{{ end -}}
{{- end -}}

{{/* preStop, drain and what is left: the time between a pod's end being decided and SIGKILL. */}}
{{- define "roomcast.grace" -}}
{{- with .Values.drain }}{{ add .preStopSeconds .delaySeconds .windowSeconds .marginSeconds }}{{ end -}}
{{- end -}}

{{/* Name and key of each secret variable, as YAML: those of existing Secrets, else those of the chart's. */}}
{{- define "roomcast.secrets" -}}
{{- $own := .ownSecret | default (printf "%s-keys" (include "roomcast.fullname" .)) -}}
{{- with .Values.apiKeys }}
{{- if or .existingSecret .values }}
ROOMCAST_API_KEY: {secret: {{ .existingSecret | default $own }}, key: {{ ternary .existingSecretKey "api-keys" (ne .existingSecret "") }}}
{{- end }}
{{- end }}
{{- with .Values.tokens.hmac }}
{{- if or .existingSecret .values }}
ROOMCAST_TOKENS_HMAC_SECRETS: {secret: {{ .existingSecret | default $own }}, key: {{ ternary .existingSecretKey "hmac-secrets" (ne .existingSecret "") }}}
{{- end }}
{{- end }}
{{- with .Values.redis }}
{{- if and .existingSecret .existingSecretKeys.urls }}
ROOMCAST_REDIS: {secret: {{ .existingSecret }}, key: {{ .existingSecretKeys.urls }}}
{{- end }}
{{- if and .existingSecret .existingSecretKeys.password (not .existingSecretKeys.urls) }}
ROOMCAST_REDIS_PASSWORD: {secret: {{ .existingSecret }}, key: {{ .existingSecretKeys.password }}}
{{- else if .password }}
ROOMCAST_REDIS_PASSWORD: {secret: {{ $own }}, key: redis-password}
{{- end }}
{{- end }}
{{- with .Values.archive }}
{{- if and .existingSecret .existingSecretKeys.url }}
ROOMCAST_ARCHIVE_URL: {secret: {{ .existingSecret }}, key: {{ .existingSecretKeys.url }}}
{{- end }}
{{- if and .existingSecret .existingSecretKeys.password }}
ROOMCAST_ARCHIVE_PASSWORD: {secret: {{ .existingSecret }}, key: {{ .existingSecretKeys.password }}}
{{- end }}
{{- end }}
{{- with .Values.upstream }}
{{- if and .urls (or .existingSecret .key) }}
ROOMCAST_UPSTREAM_KEY: {secret: {{ .existingSecret | default $own }}, key: {{ ternary .existingSecretKey "edge-key" (ne .existingSecret "") }}}
{{- end }}
{{- end }}
{{- if .Values.relay.enabled }}
{{- with .Values.relay.keys }}
ROOMCAST_RELAY_KEYS: {secret: {{ .existingSecret | default $own }}, key: {{ ternary .existingSecretKey "edge-keys" (ne .existingSecret "") }}}
{{- end }}
{{- end }}
{{- end -}}

{{/* The chart's own Secret's data; empty if there is nothing to keep. */}}
{{- define "roomcast.ownSecret" -}}
{{- with .Values.apiKeys }}{{ if and .values (not .existingSecret) }}
api-keys: {{ join "," .values | quote }}
{{- end }}{{ end }}
{{- with .Values.tokens.hmac }}{{ if and .values (not .existingSecret) }}
hmac-secrets: {{ join "," .values | quote }}
{{- end }}{{ end }}
{{- with .Values.redis }}{{ if and .password (not .existingSecret) }}
redis-password: {{ .password | quote }}
{{- end }}{{ end }}
{{- with .Values.upstream }}{{ if and .urls .key (not .existingSecret) }}
edge-key: {{ .key | quote }}
{{- end }}{{ end }}
{{- with .Values.relay }}{{ if and .enabled .keys.values (not .keys.existingSecret) }}
edge-keys: {{ join "," .keys.values | quote }}
{{- end }}{{ end }}
{{- end -}}
