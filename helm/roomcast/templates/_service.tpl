{{/* What the Services for clients are to Services that the cluster has. */}}

{{/*
A port of nodes that another Service of this release has, as a sentence: an upgrade makes new Services before it deletes old ones. The Service
`NAME` comes before `NAME-both-…` and gives its port up in time. Only Helm itself can ask the cluster.
*/}}
{{- define "roomcast.nodePortTaken" -}}
{{- $service := .Values.service -}}
{{- $wanted := list -}}
{{- with $service.nodePort }}{{ $wanted = append $wanted (int .) }}{{ end -}}
{{- range $service.extraPorts }}{{ with .nodePort }}{{ $wanted = append $wanted (int .) }}{{ end }}{{ end -}}
{{- if and $wanted (ne $service.type "ClusterIP") -}}
{{- $own := include "roomcast.outside" . -}}
{{- $taken := list -}}
{{- range (lookup "v1" "Service" .Release.Namespace "").items -}}
{{- $other := .metadata.name -}}
{{- $ours := eq (dig "labels" "app.kubernetes.io/instance" "" .metadata) $.Release.Name -}}
{{- if and $ours (ne $other $own) (ne $other (include "roomcast.fullname" $)) -}}
{{- range .spec.ports }}{{ if has (int .nodePort) $wanted }}{{ $taken = append $taken (printf "service.nodePort: %d is a port of the Service %s, in whose place %s would come, and a port of the nodes belongs to one Service: take another number, or delete that Service first, and no client comes in until the upgrade is done: kubectl -n %s delete service %s" (int .nodePort) $other $own $.Release.Namespace $other) }}{{ end }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $taken | uniq | join "\n  - " -}}
{{- end -}}
{{- end -}}
