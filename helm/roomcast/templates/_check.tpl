{{/*
What the Job that checks the configuration takes of `extraObjects`: before an installation they are not there, and a pod that names one of them
would wait for it until the Job's deadline. So it has copies.
*/}}

{{/* The value of a key of a Secret or ConfigMap in `extraObjects`: (dict "root" $ "kind" "Secret" "name" … "key" …); empty if there is none. */}}
{{- define "roomcast.held" -}}
{{- $found := "" -}}
{{- range .root.Values.extraObjects -}}
{{- $text := tpl (kindIs "string" . | ternary . (toYaml .)) $.root -}}
{{- range regexSplit "(?m)^---[ \t]*$" $text -1 -}}
{{- $object := fromYaml . -}}
{{- if and (eq ($object.kind | default "") $.kind) (eq (dig "metadata" "name" "" $object) $.name) -}}
{{- $data := get ($object.data | default dict) $.key -}}
{{- if and $data (eq $.kind "Secret") }}{{ $data = b64dec $data }}{{ end -}}
{{- $found = get ($object.stringData | default dict) $.key | default $data -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $found -}}
{{- end -}}

{{/* `extraEnv`, with what comes from a Secret or ConfigMap of `extraObjects` out of the Job's own. */}}
{{- define "roomcast.check.variables" -}}
{{- $all := list -}}
{{- range tpl (toYaml .Values.extraEnv) . | fromYamlArray -}}
{{- $one := deepCopy . -}}
{{- with dig "valueFrom" "secretKeyRef" dict . -}}
{{- if and . (include "roomcast.held" (dict "root" $ "kind" "Secret" "name" .name "key" .key)) }}{{ $_ := set $one "valueFrom" (dict "secretKeyRef" (dict "name" $.ownSecret "key" $one.name)) }}{{ end -}}
{{- end -}}
{{- with dig "valueFrom" "configMapKeyRef" dict . -}}
{{- with include "roomcast.held" (dict "root" $ "kind" "ConfigMap" "name" .name "key" .key) }}{{ $one = dict "name" $one.name "value" . }}{{ end -}}
{{- end -}}
{{- $all = append $all $one -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* The copies of secrets, by the names of their variables. */}}
{{- define "roomcast.check.secrets" -}}
{{- $copies := dict -}}
{{- range $name, $from := include "roomcast.secrets" . | fromYaml -}}
{{- with include "roomcast.held" (dict "root" $ "kind" "Secret" "name" $from.secret "key" $from.key) }}{{ $_ := set $copies $name . }}{{ end -}}
{{- end -}}
{{- range tpl (toYaml .Values.extraEnv) . | fromYamlArray -}}
{{- $name := .name -}}
{{- with dig "valueFrom" "secretKeyRef" dict . -}}
{{- with include "roomcast.held" (dict "root" $ "kind" "Secret" "name" .name "key" .key) }}{{ $_ := set $copies $name . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- with $copies }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* The copies of public keys, by the names of their files. */}}
{{- define "roomcast.check.keys" -}}
{{- $copies := dict -}}
{{- $keys := .Values.tokens.publicKeys -}}
{{- $kind := ternary "Secret" "ConfigMap" (ne ($keys.existingSecret | default "") "") -}}
{{- range $file := $keys.files -}}
{{- with include "roomcast.held" (dict "root" $ "kind" $kind "name" ($keys.existingSecret | default $keys.existingConfigMap) "key" $file) }}{{ $_ := set $copies $file . }}{{ end -}}
{{- end -}}
{{- with $copies }}{{ toYaml . }}{{ end -}}
{{- end -}}
