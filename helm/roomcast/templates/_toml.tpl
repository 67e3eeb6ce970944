{{/*
Values as TOML. Helm's own `toToml` writes every number of a values file as a float, which roomcast rightly refuses for a count.
Text is written as JSON writes it: each of its escapes is one of TOML's too. A null is left out, as everywhere in Helm.
*/}}

{{/* A value: (dict "value" … "at" "its.path"). */}}
{{- define "roomcast.toml.value" -}}
{{- $value := .value -}}
{{- $at := .at -}}
{{- if kindIs "string" $value -}}
{{- toRawJson $value -}}
{{- else if kindIs "bool" $value -}}
{{- $value -}}
{{- else if kindIs "float64" $value -}}
{{- if eq $value (floor $value) }}{{ printf "%.0f" $value }}{{ else }}{{ $value }}{{ end -}}
{{- else if or (kindIs "int64" $value) (kindIs "int" $value) -}}
{{- printf "%d" $value -}}
{{- else if kindIs "slice" $value -}}
[{{ range $i, $item := $value }}{{ if $i }}, {{ end }}{{ include "roomcast.toml.value" (dict "value" $item "at" $at) }}{{ end }}]
{{- else if kindIs "map" $value -}}
{ {{- range $i, $key := keys $value | sortAlpha }}{{ if $i }},{{ end }} {{ include "roomcast.toml.key" $key }} = {{ include "roomcast.toml.value" (dict "value" (get $value $key) "at" $at) }}{{ end }} }
{{- else -}}
{{- fail (printf "configuration.%s holds a %s, which a configuration file cannot hold" $at (kindOf $value)) -}}
{{- end -}}
{{- end -}}

{{- define "roomcast.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toRawJson . }}{{ end -}}
{{- end -}}

{{/* "array" if every item is a map: then it is a list of tables, `[[policy]]`. */}}
{{- define "roomcast.toml.tables" -}}
{{- $all := and (kindIs "slice" .) (gt (len (default (list) .)) 0) -}}
{{- if $all }}{{ range . }}{{ if not (kindIs "map" .) }}{{ $all = false }}{{ end }}{{ end }}{{ end -}}
{{- if $all }}array{{ end -}}
{{- end -}}

{{/* A table, its own values before the tables below it: (dict "table" … "path" ""). */}}
{{- define "roomcast.toml.table" -}}
{{- $table := .table -}}
{{- $path := .path -}}
{{- range $key := keys $table | sortAlpha }}
{{- $value := get $table $key }}
{{- $tables := eq (include "roomcast.toml.tables" (ternary $value (list) (kindIs "slice" $value))) "array" }}
{{- if not (or (kindIs "invalid" $value) (kindIs "map" $value) $tables) }}
{{ include "roomcast.toml.key" $key }} = {{ include "roomcast.toml.value" (dict "value" $value "at" $key) }}
{{- end }}
{{- end }}
{{- range $key := keys $table | sortAlpha }}
{{- $value := get $table $key }}
{{- $below := include "roomcast.toml.key" $key }}
{{- if $path }}{{ $below = printf "%s.%s" $path $below }}{{ end }}
{{- if kindIs "map" $value }}

[{{ $below }}]
{{- include "roomcast.toml.table" (dict "table" $value "path" $below) }}
{{- else if eq (include "roomcast.toml.tables" (ternary $value (list) (kindIs "slice" $value))) "array" }}
{{- range $value }}

[[{{ $below }}]]
{{- include "roomcast.toml.table" (dict "table" . "path" $below) }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
