{{/* What alerts compare with, as far as values decide it: an alert must not fire on a pod that does what its values say. */}}

{{/*
Seconds before a certificate's end from which it should have been renewed: three quarters of what cert-manager keeps to, never more than a
week. The alert itself also waits for the last quarter of what the certificate is good for: an issuer may give a shorter one than was asked for.
*/}}
{{- define "roomcast.certificateLate" -}}
{{- $week := 604800 -}}
{{- with .Values.tls.certManager -}}
{{- if and $.Values.tls.enabled .enabled -}}
{{- $before := include "roomcast.seconds" .renewBefore | int64 -}}
{{- if not $before }}{{ $before = div (include "roomcast.seconds" .duration | int64) 3 }}{{ end -}}
{{- if $before }}{{ $week = min $week (div (mul $before 3) 4) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $week -}}
{{- end -}}

{{/* Seconds after which a key set is old: three fetches have failed, and never less than an hour. A day, the longest, if only the pod knows it. */}}
{{- define "roomcast.keySetLate" -}}
{{- $given := include "roomcast.given" (dict "root" . "flag" "tokens-jwks-refresh" "variable" "ROOMCAST_TOKENS_JWKS_REFRESH") | default (dig "tokens" "jwks_refresh" "5m" .Values.configuration | default "5m") | toString -}}
{{- $refresh := ternary (include "roomcast.seconds" $given | int64) 86400 (regexMatch "^([0-9]+(ms|h|m|s|d))+$" $given) -}}
{{- max 3600 (mul 3 $refresh) -}}
{{- end -}}

{{/* Seconds of a duration of cert-manager or of the configuration; 0 of none. */}}
{{- define "roomcast.seconds" -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(ms|h|m|s|d)" (. | default "" | toString) -1 -}}
{{- $unit := get (dict "ms" 0 "s" 1 "m" 60 "h" 3600 "d" 86400) (regexFind "[a-z]+" .) -}}
{{- $sum = add $sum (mul (regexFind "[0-9]+" . | int64) $unit) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* Seconds as people say them. */}}
{{- define "roomcast.span" -}}
{{- $seconds := int64 . -}}
{{- if eq $seconds 3600 -}}an hour
{{- else if and (ge $seconds 172800) (eq (mod $seconds 86400) 0) -}}{{ div $seconds 86400 }} days
{{- else if ge $seconds 7200 -}}{{ div $seconds 3600 }} hours
{{- else -}}{{ div $seconds 60 }} minutes
{{- end -}}
{{- end -}}

{{/*
What the pod is given beside its file, by a flag or a variable of its own: (dict "root" $ "flag" "redis" "variable" "ROOMCAST_REDIS"). `?`
where it is known only to the cluster; empty where it is not given.
*/}}
{{- define "roomcast.given" -}}
{{- $found := "" -}}
{{- range .root.Values.extraEnv }}{{ if eq .name $.variable }}{{ $found = .value | default "?" | toString }}{{ end }}{{ end -}}
{{- $flag := printf "--%s" .flag -}}
{{- $next := false -}}
{{- range .root.Values.extraArgs -}}
{{- if $next }}{{ $found = . }}{{ $next = false }}
{{- else if eq . $flag }}{{ $found = "?" }}{{ $next = true }}
{{- else if hasPrefix (printf "%s=" $flag) . }}{{ $found = trimPrefix (printf "%s=" $flag) . }}{{ end -}}
{{- end -}}
{{- $found -}}
{{- end -}}
