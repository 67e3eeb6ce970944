{{/* How many pods there are, and how new ones replace them. */}}

{{/*
The number of pods. The autoscaler's own number is kept: a manifest without one would make Helm 3 take it away, which is one pod. What the
cluster has is known to Helm alone; without it (`helm template`) it is the least number.
*/}}
{{- define "roomcast.replicas" -}}
{{- $v := .Values -}}
{{- if not $v.autoscaling.enabled -}}
{{- $v.replicaCount -}}
{{- else if not $v.autoscaling.omitReplicas -}}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace (include "roomcast.fullname" .) -}}
{{- $now := dig "spec" "replicas" 0 ($live | default dict) | int -}}
{{- min (int $v.autoscaling.maxReplicas) (max (int $v.autoscaling.minReplicas) $now) -}}
{{- end -}}
{{- end -}}

{{/*
KiB that a pod may need, as far as the values say: each connection that it may have, or that the autoscaler wants it to have and a half more
for a rollout; what its queues hold; the embedded broker, or the newest events of an edge's rooms; the program. 0 where the values do not say.
*/}}
{{- define "roomcast.memoryNeeded" -}}
{{- $scaled := and .Values.autoscaling.enabled .Values.autoscaling.connections.enabled -}}
{{- $connections := .Values.configuration.max_connections | default (ternary (div (mul (int64 .Values.autoscaling.connections.target) 3) 2) 0 $scaled) | int64 -}}
{{- if $connections -}}
{{- $broker := ternary 0 (include "roomcast.bytes" (dig "memory_broker" "max_bytes" "256MiB" .Values.configuration) | int64) (ne (include "roomcast.redis" .) "") -}}
{{- if include "roomcast.edge.set" . }}{{ $broker = include "roomcast.bytes" (dig "upstream" "tail_bytes" "64MiB" .Values.configuration) | int64 }}{{ end -}}
{{- /* Where it is not set, the pod takes up to half of its limit, and less when memory is short: that much it should have. */ -}}
{{- $budget := include "roomcast.bytes" (.Values.configuration.memory_budget | default "256MiB") | int64 -}}
{{- add (mul $connections (ternary 35 10 (ne (include "roomcast.udp" .) ""))) (div (add $budget $broker) 1024) 65536 -}}
{{- else -}}0{{- end -}}
{{- end -}}

{{/* Bytes of a size of the configuration, or of a quantity of Kubernetes: a number, or text with a unit. */}}
{{- define "roomcast.bytes" -}}
{{- if kindIs "string" . -}}
{{- $units := dict "KiB" 1024 "Ki" 1024 "k" 1000 "MiB" 1048576 "Mi" 1048576 "M" 1000000 "GiB" 1073741824 "Gi" 1073741824 "G" 1000000000 "Ti" 1099511627776 "T" 1000000000000 -}}
{{- mulf (regexFind "^[0-9.]+" .) (get $units (regexFind "[A-Za-z]+$" .) | default 1) | int64 -}}
{{- else -}}
{{- int64 . -}}
{{- end -}}
{{- end -}}

{{/* What allows a node one pod only; empty if nothing does. */}}
{{- define "roomcast.onePerNode" -}}
{{- $port := false -}}
{{- range $container := concat (list (dict "ports" .Values.extraPorts)) .Values.extraContainers -}}
{{- if kindIs "map" $container }}{{ range $container.ports }}{{ if .hostPort }}{{ $port = true }}{{ end }}{{ end }}{{ end -}}
{{- end -}}
{{- if .Values.hostNetwork -}}hostNetwork
{{- else if $port -}}a hostPort
{{- else if and (eq .Values.podAntiAffinity "hard") (not .Values.affinity) -}}podAntiAffinity=hard
{{- else if include "roomcast.keepsApart" . -}}affinity
{{- end -}}
{{- end -}}

{{/* Whether `affinity` keeps these pods on nodes of their own: a required term on host names that selects them by labels. */}}
{{- define "roomcast.keepsApart" -}}
{{- $labels := merge (dict) (.Values.podLabels | default dict) (.Values.commonLabels | default dict) (include "roomcast.selector" . | fromYaml) -}}
{{- range dig "podAntiAffinity" "requiredDuringSchedulingIgnoredDuringExecution" list .Values.affinity -}}
{{- if eq (.topologyKey | default "") "kubernetes.io/hostname" -}}
{{- $all := true -}}
{{- $selector := .labelSelector | default dict -}}
{{- range $key, $value := $selector.matchLabels }}{{ if ne (get $labels $key | toString) ($value | toString) }}{{ $all = false }}{{ end }}{{ end -}}
{{- range $selector.matchExpressions }}{{ if not (and (eq .operator "In") (has (get $labels .key) .values)) }}{{ $all = false }}{{ end }}{{ end -}}
{{- if and $all $selector }}yes{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The fewest pods that there are for long. */}}
{{- define "roomcast.fewest" -}}
{{- ternary .Values.autoscaling.minReplicas .Values.replicaCount .Values.autoscaling.enabled | int -}}
{{- end -}}

{{/* The most pods. */}}
{{- define "roomcast.most" -}}
{{- ternary .Values.autoscaling.maxReplicas .Values.replicaCount .Values.autoscaling.enabled | int -}}
{{- end -}}

{{/* How many of `of` pods a number or a percentage is, rounded as Kubernetes does: (dict "value" "25%" "of" 3 "up" true). */}}
{{- define "roomcast.share" -}}
{{- $text := .value | toString -}}
{{- if hasSuffix "%" $text -}}
{{- div (add (mul (trimSuffix "%" $text | int) .of) (ternary 99 0 .up)) 100 -}}
{{- else -}}
{{- $text | int -}}
{{- end -}}
{{- end -}}

{{/*
What is wrong with `strategy`, as a sentence. Kubernetes takes 25% for what is not set, rounds maxSurge up and maxUnavailable down, and lets one
pod go where both come to nothing.
*/}}
{{- define "roomcast.strategy.wrong" -}}
{{- $only := include "roomcast.onePerNode" . -}}
{{- $pods := include "roomcast.fewest" . | int -}}
{{- if and .Values.strategy (ne (.Values.strategy.type | default "RollingUpdate") "Recreate") $pods -}}
{{- $own := .Values.strategy.rollingUpdate | default dict -}}
{{- $set := not (kindIs "invalid" $own.maxUnavailable) -}}
{{- $away := ternary $own.maxUnavailable "25%" $set | toString -}}
{{- $ahead := ternary "25%" $own.maxSurge (kindIs "invalid" $own.maxSurge) | toString -}}
{{- $none := list "0" "0%" -}}
{{- if and (has $away $none) (has $ahead $none) -}}
strategy.rollingUpdate.maxUnavailable and maxSurge are both 0, with which no pod could ever be replaced: set one of them
{{- else if and $only (eq (include "roomcast.share" (dict "value" $away "of" $pods "up" false)) "0") (not (has $ahead $none)) -}}
strategy.rollingUpdate.maxUnavailable is {{ if not $set }}not set, which is {{ end }}{{ $away }}{{ if not (has $away $none) }} and comes to 0 of {{ $pods }} pods{{ end }}, and {{ $only }} allows one pod a node: where each node has one, no new pod would find a place, and a rollout would never end; leave strategy to the chart, or set maxUnavailable=1
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
With a quarter more pods: a Deployment does not wait for the drain of a pod that goes, whose clients come to all the others. The faster the
new ones are there, the fewer of them come to a pod that goes too, and the more even are the new ones. Where each node has its pod already, no node is left for one more, and one goes first.
*/}}
{{- define "roomcast.strategy" -}}
{{- if .Values.strategy -}}
{{- $own := deepCopy .Values.strategy -}}
{{- if kindIs "invalid" $own.rollingUpdate }}{{ $_ := unset $own "rollingUpdate" }}{{ end -}}
{{- toYaml $own -}}
{{- else if include "roomcast.onePerNode" . -}}
type: RollingUpdate
rollingUpdate: {maxSurge: 0, maxUnavailable: 1}
{{- else -}}
type: RollingUpdate
rollingUpdate: {maxSurge: 25%, maxUnavailable: 0}
{{- end -}}
{{- end -}}
