{{/*
What `merge` and `patch` make of an object. Every file of objects is a template of its own name, rendered through here. An object that no
key of the two names is passed on as it was written.
*/}}

{{/* The objects of a template: (dict "root" $ "template" "roomcast.services"). */}}
{{- define "roomcast.objects" -}}
{{- $root := .root -}}
{{- $text := include .template $root -}}
{{- if not (or $root.Values.merge $root.Values.patch) -}}
{{- $text -}}
{{- else -}}
{{- range $document := regexSplit "(?m)^---[ \t]*$" $text -1 }}
{{- if $document | trim }}
---
{{ include "roomcast.object" (dict "root" $root "text" $document) }}
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* One object after its merges and patches. */}}
{{- define "roomcast.object" -}}
{{- $object := fromYaml (printf "%s\n" .text) -}}
{{- $changed := false -}}
{{- range $key := include "roomcast.object.keys" (dict "root" .root "object" $object) | fromYamlArray }}
{{- if hasKey $.root.Values.merge $key }}
{{- $changed = true }}
{{- include "roomcast.merge" (dict "into" $object "from" (get $.root.Values.merge $key)) }}
{{- end }}
{{- if hasKey $.root.Values.patch $key }}
{{- $changed = true }}
{{- range $n, $step := get $.root.Values.patch $key }}
{{- include "roomcast.patch" (dict "object" $object "step" $step "at" (printf "patch.%s[%d]" $key $n)) }}
{{- end }}
{{- end }}
{{- end }}
{{- if $changed }}{{ toYaml $object }}{{ else }}{{ trim .text }}{{ end -}}
{{- end -}}

{{/* The keys of `merge` and `patch` that mean an object: its kind; kind and name; kind and what its name has behind the full name. */}}
{{- define "roomcast.object.keys" -}}
{{- $name := .object.metadata.name -}}
{{- $full := include "roomcast.fullname" .root -}}
{{- $keys := list .object.kind (printf "%s/%s" .object.kind $name) -}}
{{- if hasPrefix (printf "%s-" $full) $name }}{{ $keys = append $keys (printf "%s/%s" .object.kind (trimPrefix (printf "%s-" $full) $name)) }}{{ end -}}
{{- toYaml $keys -}}
{{- end -}}

{{/* A JSON merge patch (RFC 7396): maps are merged, everything else is replaced, a null takes away. */}}
{{- define "roomcast.merge" -}}
{{- $into := .into -}}
{{- range $key, $value := .from -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $into $key -}}
{{- else if kindIs "map" $value -}}
{{- if not (kindIs "map" (get $into $key)) }}{{ $_ := set $into $key dict }}{{ end -}}
{{- include "roomcast.merge" (dict "into" (get $into $key) "from" $value) -}}
{{- else -}}
{{- $_ := set $into $key $value -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* One step of a JSON patch (RFC 6902): `add`, `remove`, `replace` or `test`. */}}
{{- define "roomcast.patch" -}}
{{- $tokens := list -}}
{{- range rest (splitList "/" .step.path) }}{{ $tokens = append $tokens (. | replace "~1" "/" | replace "~0" "~") }}{{ end -}}
{{- include "roomcast.patch.step" (dict "holder" (dict "all" .object) "key" "all" "tokens" $tokens "step" .step "at" .at) -}}
{{- end -}}

{{/* A step at `holder`'s `key`; a list is made anew, because templates cannot change one. */}}
{{- define "roomcast.patch.step" -}}
{{- $node := get .holder .key -}}
{{- $token := first .tokens -}}
{{- $rest := rest .tokens -}}
{{- $op := .step.op -}}
{{- $nowhere := printf "\n\nroomcast cannot be installed with these values:\n  - %s: there is no %s" .at .step.path -}}
{{- if kindIs "map" $node -}}
{{- if and (not (hasKey $node $token)) (or $rest (ne $op "add")) }}{{ fail $nowhere }}{{ end -}}
{{- if $rest -}}
{{- include "roomcast.patch.step" (dict "holder" $node "key" $token "tokens" $rest "step" .step "at" .at) -}}
{{- else if eq $op "test" -}}
{{- include "roomcast.patch.test" (dict "value" (get $node $token) "step" .step "at" .at) -}}
{{- else if eq $op "remove" -}}
{{- $_ := unset $node $token -}}
{{- else -}}
{{- $_ := set $node $token .step.value -}}
{{- end -}}
{{- else if kindIs "slice" $node -}}
{{- $adds := and (eq $op "add") (not $rest) -}}
{{- if not (regexMatch "^(-|0|[1-9][0-9]*)$" $token) }}{{ fail $nowhere }}{{ end -}}
{{- $index := ternary (len $node) (int $token) (eq $token "-") -}}
{{- if ge $index (add (len $node) (ternary 1 0 $adds) | int) }}{{ fail $nowhere }}{{ end -}}
{{- $made := list -}}
{{- range $n, $item := $node -}}
{{- if ne $n $index -}}
{{- $made = append $made $item -}}
{{- else if $rest -}}
{{- $slot := dict "item" $item -}}
{{- include "roomcast.patch.step" (dict "holder" $slot "key" "item" "tokens" $rest "step" $.step "at" $.at) -}}
{{- $made = append $made $slot.item -}}
{{- else if eq $op "add" -}}
{{- $made = append (append $made $.step.value) $item -}}
{{- else if eq $op "replace" -}}
{{- $made = append $made $.step.value -}}
{{- else if eq $op "test" -}}
{{- include "roomcast.patch.test" (dict "value" $item "step" $.step "at" $.at) -}}
{{- $made = append $made $item -}}
{{- end -}}
{{- end -}}
{{- if eq $index (len $node) }}{{ $made = append $made .step.value }}{{ end -}}
{{- $_ := set .holder .key $made -}}
{{- else -}}
{{- fail $nowhere -}}
{{- end -}}
{{- end -}}

{{- define "roomcast.patch.test" -}}
{{- if ne (toJson .value) (toJson .step.value) -}}
{{- fail (printf "\n\nroomcast cannot be installed with these values:\n  - %s: at %s there is %s, not %s" .at .step.path (toJson .value) (toJson .step.value)) -}}
{{- end -}}
{{- end -}}

{{/* Keys of `merge` and `patch` that mean no object, each as a sentence. */}}
{{- define "roomcast.objects.unknown" -}}
{{- $known := list -}}
{{- $shown := list -}}
{{- range list "autoscaler" "certificate" "check" "configmap" "dashboard" "deployment" "disruptionBudget" "httpRoute" "ingress" "monitor" "networkPolicy" "routes" "rules" "secrets" "serviceAccount" "services" "test" "trialRedis" -}}
{{- range regexSplit "(?m)^---[ \t]*$" (include (printf "roomcast.objects.%s" .) $) -1 -}}
{{- $object := fromYaml . -}}
{{- if $object -}}
{{- $known = concat $known (include "roomcast.object.keys" (dict "root" $ "object" $object) | fromYamlArray) -}}
{{- $shown = append $shown (printf "%s/%s" $object.kind $object.metadata.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $wrong := list -}}
{{- range $value := list "merge" "patch" -}}
{{- range $key := keys (get $.Values $value) | sortAlpha -}}
{{- if not (has $key $known) }}{{ $wrong = append $wrong (printf "%s.%s is no object of these values; there are: %s" $value $key (join ", " $shown)) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toYaml $wrong -}}
{{- end -}}
