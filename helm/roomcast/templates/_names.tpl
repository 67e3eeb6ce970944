{{/* Names and labels. The selector's labels are a part of the Deployment that never changes. */}}

{{- define "roomcast.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Short enough for the suffixes of the other objects. */}}
{{- define "roomcast.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "roomcast.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "roomcast.selector" -}}
app.kubernetes.io/name: {{ include "roomcast.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .component | default "pod" }}
{{- end -}}

{{/* Each label once: those of the object (`moreLabels` of the root) before `commonLabels`, and both before the chart's. */}}
{{- define "roomcast.labels" -}}
{{- $own := dict "app.kubernetes.io/version" .Chart.AppVersion "app.kubernetes.io/managed-by" .Release.Service "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{ include "roomcast.selector" . }}
{{ toYaml (merge (dict) (.moreLabels | default dict) (.Values.commonLabels | default dict) $own) }}
{{- end -}}

{{/* The metadata of an object: (dict "root" $ "name" … "component" … "labels" … "annotations" …). */}}
{{- define "roomcast.metadata" -}}
{{- $root := merge (dict "component" .component "moreLabels" .labels) .root -}}
name: {{ .name | default (include "roomcast.fullname" .root) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "roomcast.labels" $root | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "roomcast.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "roomcast.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "roomcast.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with .Values.image.registry }}{{ $repository = printf "%s/%s" . $repository }}{{ end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The Secret that holds the certificate; empty without TLS. */}}
{{- define "roomcast.certificate" -}}
{{- if .Values.tls.enabled -}}
{{- .Values.tls.existingSecret | default (printf "%s-tls" (include "roomcast.fullname" .)) -}}
{{- end -}}
{{- end -}}

{{/* The name of the container's port for clients. */}}
{{- define "roomcast.clientPort" -}}
{{- ternary "wss" "ws" .Values.tls.enabled -}}
{{- end -}}
