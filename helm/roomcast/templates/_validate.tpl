{{/* What values.schema.json cannot see, because it lies between values. Each sentence says what to set. */}}
{{- define "roomcast.validate" -}}
{{- $wrong := list -}}
{{- $v := .Values -}}
{{- $told := list -}}
{{- $elsewhere := dict "dev" "the chart never starts development mode" "listen" "use tls.enabled and service.port" "plain_listen" "use tls.enabled and service.port" "internal_listen" "use internalService.port" "cert" "use tls" "key" "use tls" "state_dir" "pods write nothing" "watch_config" "use liveReload" "advertise" "use advertise=true" "api_keys" "use apiKeys, which makes a Secret" "drain" "use drain.delaySeconds and drain.windowSeconds, from which the grace period follows" -}}
{{- range $key, $instead := $elsewhere }}{{ if hasKey $v.configuration $key }}{{ $wrong = append $wrong (printf "configuration.%s is not taken: %s" $key $instead) }}{{ end }}{{ end -}}
{{- range $key, $instead := dict "urls" "use redis.urls" "password" "use redis.password or redis.existingSecret, which stay out of the ConfigMap" "ca" "use redis.ca" }}{{ if hasKey (dig "redis" dict $v.configuration) $key }}{{ $wrong = append $wrong (printf "configuration.redis.%s is not taken: %s" $key $instead) }}{{ end }}{{ end -}}
{{- range $section, $keys := (.Files.Get "settings.json" | fromJson).secrets -}}
{{- $table := ternary (get $v.configuration $section) $v.configuration (ne $section "") -}}
{{- range $key := $keys -}}
{{- $path := ternary (printf "%s.%s" $section $key) $key (ne $section "") -}}
{{- /* Those that have a value of the chart are refused with its name. */ -}}
{{- if and (kindIs "map" $table) (not (has $path (list "api_keys" "archive.password" "archive.url" "redis.password" "redis.urls" "relay.keys" "tokens.hmac_secrets" "upstream.key"))) -}}
{{- range $text := ternary (get $table $key) (list (get $table $key)) (kindIs "slice" (get $table $key)) -}}
{{- if not (or (kindIs "invalid" $text) (eq ($text | toString) "") (regexMatch "^\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}$" ($text | toString))) }}{{ $told = append $told (printf "configuration.%s is a secret, which would stand in a ConfigMap: write \"${NAME}\", and bring that variable from a Secret by extraEnv" $path) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $wrong = concat $wrong ($told | uniq) -}}
{{- if hasKey (dig "archive" dict $v.configuration) "password" }}{{ $wrong = append $wrong "configuration.archive.password is not taken: use archive.existingSecret with archive.existingSecretKeys.password, which stays out of the ConfigMap" }}{{ end -}}
{{- if regexMatch "://[^/@]*:[^/@]*@" (dig "archive" "url" "" $v.configuration | toString) }}{{ $wrong = append $wrong "configuration.archive.url holds a password, which would stand in a ConfigMap: use archive.existingSecret" }}{{ end -}}
{{- if and $v.archive.existingSecret $v.archive.existingSecretKeys.url (dig "archive" "url" "" $v.configuration) }}{{ $wrong = append $wrong "the address of the archive is set twice: in configuration.archive.url and, by archive.existingSecretKeys.url, in a Secret" }}{{ end -}}
{{- range $key, $instead := dict "hmac_secrets" "use tokens.hmac, which makes a Secret" "public_keys" "use tokens.publicKeys" }}{{ if hasKey (dig "tokens" dict $v.configuration) $key }}{{ $wrong = append $wrong (printf "configuration.tokens.%s is not taken: %s" $key $instead) }}{{ end }}{{ end -}}
{{- range $key, $instead := dict "urls" "use upstream.urls" "key" "use upstream.key or upstream.existingSecret, which stay out of the ConfigMap" "ca" "use upstream.ca" }}{{ if hasKey (dig "upstream" dict $v.configuration) $key }}{{ $wrong = append $wrong (printf "configuration.upstream.%s is not taken: %s" $key $instead) }}{{ end }}{{ end -}}
{{- range $key, $instead := dict "listen" "use relay.enabled" "keys" "use relay.keys, which makes a Secret" "rooms" "use relay.rooms" "tls" "use relay.tls" }}{{ if hasKey (dig "relay" dict $v.configuration) $key }}{{ $wrong = append $wrong (printf "configuration.relay.%s is not taken: %s" $key $instead) }}{{ end }}{{ end -}}
{{- range $where, $labels := dict "commonLabels" $v.commonLabels "podLabels" $v.podLabels "service.labels" $v.service.labels "metrics.labels" $v.metrics.labels "metrics.rules.labels" $v.metrics.rules.labels "metrics.dashboard.labels" $v.metrics.dashboard.labels -}}
{{- range $key := keys ($labels | default dict) | sortAlpha }}{{ if has $key (list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component") }}{{ $wrong = append $wrong (printf "%s has %s, by which pods are selected: it is the chart's own; nameOverride changes the name" $where $key) }}{{ end }}{{ end -}}
{{- end -}}
{{- $certificates := 0 -}}
{{- range list (ne $v.tls.existingSecret "") $v.tls.selfSigned $v.tls.certManager.enabled }}{{ if . }}{{ $certificates = add1 $certificates }}{{ end }}{{ end -}}
{{- if and $v.tls.enabled (ne (int $certificates) 1) -}}
{{- $wrong = append $wrong "TLS needs one certificate: set exactly one of tls.existingSecret, tls.certManager.enabled and tls.selfSigned (for trying out), or tls.enabled=false where something else terminates TLS" -}}
{{- end -}}
{{- if and (not $v.tls.enabled) (gt (int $certificates) 0) -}}
{{- $wrong = append $wrong "a certificate is set but tls.enabled is false: set tls.enabled=true, or take the certificate away" -}}
{{- end -}}
{{- if $v.tls.certManager.enabled -}}
{{- if not $v.tls.certManager.issuerRef.name }}{{ $wrong = append $wrong "cert-manager needs an issuer: set tls.certManager.issuerRef.name (and kind)" }}{{ end -}}
{{- if not $v.tls.certManager.dnsNames }}{{ $wrong = append $wrong "cert-manager needs names: set tls.certManager.dnsNames" }}{{ end -}}
{{- with $v.tls.certManager }}{{ if and .duration .renewBefore (ge (include "roomcast.seconds" .renewBefore | int64) (include "roomcast.seconds" .duration | int64)) }}{{ $wrong = append $wrong (printf "tls.certManager.renewBefore (%s) is not less than tls.certManager.duration (%s): the certificate would be renewed for ever" .renewBefore .duration) }}{{ end }}{{ end -}}
{{- end -}}
{{- $tokens := or $v.tokens.hmac.values $v.tokens.hmac.existingSecret $v.tokens.publicKeys.files (dig "tokens" "jwks_url" "" $v.configuration) (dig "tokens" "jwks_file" "" $v.configuration) (dig "hooks" "connect" "" $v.configuration) -}}
{{- if not (or $v.preset $tokens $v.configuration.anonymous $v.extraEnv $v.extraEnvFrom $v.extraArgs) -}}
{{- $wrong = append $wrong "no client could join: set configuration.anonymous=true to let clients in without a token, or the keys of their tokens: tokens.hmac, tokens.publicKeys or configuration.tokens.jwks_url, or ask a backend: configuration.hooks.connect" -}}
{{- end -}}
{{- $redis := include "roomcast.redis" . -}}
{{- $pods := include "roomcast.most" . | int -}}
{{- $edge := $v.upstream.urls -}}
{{- if and (not $redis) (not (include "roomcast.edge.set" .)) (gt $pods 1) -}}
{{- $wrong = append $wrong (printf "%d pods without Redis would not share their rooms: set redis.urls, redis.existingSecret with redis.existingSecretKeys.urls, redis.trial.enabled (for trying out), or one pod: replicaCount=1" $pods) -}}
{{- end -}}
{{- range $v.redis.urls }}{{ if contains "@" . -}}
{{- $wrong = append $wrong "an address in redis.urls holds a user or a password, which would stand in a ConfigMap: use redis.password, or redis.existingSecret with redis.existingSecretKeys.urls" -}}
{{- end }}{{ end -}}
{{- if and $v.redis.trial.enabled (or $v.redis.urls $v.redis.existingSecret $v.redis.password) -}}
{{- $wrong = append $wrong "redis.trial.enabled starts a Redis of its own: take redis.urls, redis.password and redis.existingSecret away, or set redis.trial.enabled=false" -}}
{{- end -}}
{{- if and $v.redis.urls $v.redis.existingSecret $v.redis.existingSecretKeys.urls -}}
{{- $wrong = append $wrong "the addresses of Redis are set twice: in redis.urls and, by redis.existingSecretKeys.urls, in a Secret" -}}
{{- end -}}
{{- if $edge -}}
{{- if or $redis $v.redis.password $v.redis.existingSecret -}}
{{- $wrong = append $wrong "upstream.urls and redis are both set: an edge keeps nothing of its own, its rooms are its home's; take redis away (urls, password, existingSecret, trial), or upstream.urls" -}}
{{- end -}}
{{- if not (or $v.upstream.key $v.upstream.existingSecret $v.extraEnv $v.extraEnvFrom) -}}
{{- $wrong = append $wrong "upstream.urls needs a key: set upstream.existingSecret, or upstream.key, to one of the home's relay.keys" -}}
{{- end -}}
{{- if or $v.tokens.hmac.values $v.tokens.hmac.existingSecret -}}
{{- $wrong = append $wrong "upstream.urls and tokens.hmac are both set: with such a secret an edge that is taken over could make any token; give edges public keys only: tokens.publicKeys, or configuration.tokens.jwks_url" -}}
{{- end -}}
{{- if dig "user_presence" "room" "" $v.configuration -}}
{{- $wrong = append $wrong "upstream.urls and configuration.user_presence.room are both set: the presence of users does not reach over edges yet" -}}
{{- end -}}
{{- range $edge }}{{ if contains "@" . -}}
{{- $wrong = append $wrong "an address in upstream.urls holds a user or a password, which would stand in a ConfigMap: use upstream.key or upstream.existingSecret" -}}
{{- end }}{{ end -}}
{{- else -}}
{{- range $key := list "key" "existingSecret" -}}
{{- if get $v.upstream $key }}{{ $wrong = append $wrong (printf "upstream.%s is set but upstream.urls is not: say where the home is, or take the key away" $key) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if and $v.upstream.key $v.upstream.existingSecret -}}
{{- $wrong = append $wrong "the key of these edges is set twice: in upstream.key and in the Secret upstream.existingSecret" -}}
{{- end -}}
{{- if and $v.upstream.ca.file (not (or $v.upstream.ca.existingSecret $v.upstream.ca.existingConfigMap)) -}}
{{- $wrong = append $wrong "upstream.ca.file needs upstream.ca.existingSecret or upstream.ca.existingConfigMap, which holds it" -}}
{{- end -}}
{{- if $v.relay.enabled -}}
{{- $keys := $v.relay.keys -}}
{{- if not (or $keys.values $keys.existingSecret) -}}
{{- $wrong = append $wrong "relay.enabled without a key would refuse every edge: set relay.keys.existingSecret or relay.keys.values" -}}
{{- end -}}
{{- if and $keys.values $keys.existingSecret -}}
{{- $wrong = append $wrong "the keys of edges are set twice: in relay.keys.values and in the Secret relay.keys.existingSecret" -}}
{{- end -}}
{{- if and $v.relay.tls (not $v.tls.enabled) -}}
{{- $wrong = append $wrong "relay.enabled takes edges over TLS, and pods have no certificate: set tls.enabled=true, or relay.tls=false where something in front of the pods terminates it" -}}
{{- end -}}
{{- $shared := and $keys.existingSecret (eq $keys.existingSecret $v.apiKeys.existingSecret) (eq $keys.existingSecretKey $v.apiKeys.existingSecretKey) -}}
{{- range $keys.values }}{{ if has . $v.apiKeys.values }}{{ $shared = true }}{{ end }}{{ end -}}
{{- if $shared -}}
{{- $wrong = append $wrong "a key of relay.keys is a key of the API too: an edge that is taken over could publish to every room and close every connection; give edges a key of their own" -}}
{{- end -}}
{{- if and $v.upstream.key (has $v.upstream.key $keys.values) -}}
{{- $wrong = append $wrong "upstream.key is one of relay.keys.values: the edges behind this relay could go to its home by themselves, past relay.rooms; give them a key of their own" -}}
{{- end -}}
{{- end -}}
{{- if and $v.redis.ca.file (not (or $v.redis.ca.existingSecret $v.redis.ca.existingConfigMap)) -}}
{{- $wrong = append $wrong "redis.ca.file needs redis.ca.existingSecret or redis.ca.existingConfigMap, which holds it" -}}
{{- end -}}
{{- if and $v.tokens.publicKeys.files (not (or $v.tokens.publicKeys.existingSecret $v.tokens.publicKeys.existingConfigMap)) -}}
{{- $wrong = append $wrong "tokens.publicKeys.files needs tokens.publicKeys.existingSecret or tokens.publicKeys.existingConfigMap, which holds them" -}}
{{- end -}}
{{- if $v.autoscaling.enabled -}}
{{- if not (or $v.autoscaling.connections.enabled $v.autoscaling.cpu.enabled) }}{{ $wrong = append $wrong "autoscaling.enabled needs something to go by: autoscaling.connections.enabled or autoscaling.cpu.enabled" }}{{ end -}}
{{- if and $v.autoscaling.cpu.enabled (not (dig "requests" "cpu" "" $v.resources)) }}{{ $wrong = append $wrong "autoscaling.cpu is percent of the request: set resources.requests.cpu, or autoscaling.cpu.enabled=false" }}{{ end -}}
{{- if gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas) }}{{ $wrong = append $wrong (printf "autoscaling.minReplicas (%d) is more than autoscaling.maxReplicas (%d)" (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) }}{{ end -}}
{{- end -}}
{{- if and $v.autoscaling.keda.enabled (not $v.autoscaling.enabled) }}{{ $wrong = append $wrong "autoscaling.keda.enabled is how the autoscaler works: set autoscaling.enabled=true as well" }}{{ end -}}
{{- if and $v.autoscaling.enabled $v.autoscaling.keda.enabled $v.autoscaling.connections.enabled (not $v.autoscaling.keda.prometheus) }}{{ $wrong = append $wrong "autoscaling.keda.enabled counts connections by Prometheus: set autoscaling.keda.prometheus to its URL, or autoscaling.connections.enabled=false" }}{{ end -}}
{{- range $name := list "tlsRoute" "udpRoute" -}}
{{- $route := get $v $name -}}
{{- if $route.enabled -}}
{{- if not $route.parentRefs }}{{ $wrong = append $wrong (printf "%s.enabled needs %s.parentRefs: the Gateways that it belongs to" $name $name) }}{{ end -}}
{{- if not $v.tls.enabled }}{{ $wrong = append $wrong (printf "%s.enabled brings clients to pods that have TLS: set tls.enabled=true, or take httpRoute" $name) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if and $v.tlsRoute.enabled (not $v.tlsRoute.hostnames) }}{{ $wrong = append $wrong "tlsRoute.enabled needs tlsRoute.hostnames: a Gateway tells TLS apart by names" }}{{ end -}}
{{- if and $v.udpRoute.enabled (eq $v.service.protocols "tcp") }}{{ $wrong = append $wrong "udpRoute.enabled needs UDP: set service.protocols=split or mixed" }}{{ end -}}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) }}{{ $wrong = append $wrong "ingress.enabled needs ingress.hosts" }}{{ end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}{{ $wrong = append $wrong "httpRoute.enabled needs httpRoute.parentRefs: the Gateways that it belongs to" }}{{ end -}}
{{- if and (eq $v.service.protocols "split") $v.service.nodePort }}{{ $wrong = append $wrong "service.nodePort cannot be one port of two Services: take it away, or set service.protocols=mixed" }}{{ end -}}
{{- if and $v.service.nodePort (eq $v.service.type "ClusterIP") }}{{ $wrong = append $wrong "service.nodePort needs service.type=NodePort or LoadBalancer" }}{{ end -}}
{{- with include "roomcast.nodePortTaken" . }}{{ $wrong = append $wrong . }}{{ end -}}
{{- range $where, $first := dict "service" (int $v.service.port) "internalService" (int $v.internalService.port) -}}
{{- $numbers := list $first -}}
{{- range (get $v $where).extraPorts -}}
{{- if has (int .port) $numbers }}{{ $wrong = append $wrong (printf "%s.extraPorts: port %d is there already, and an upgrade with Helm 3 tells ports apart by their numbers alone: take another number, or a Service of your own in extraObjects" $where (int .port)) }}{{ end -}}
{{- $numbers = append $numbers (int .port) -}}
{{- end -}}
{{- end -}}
{{- $numbers := list (ternary 8443 8080 $v.tls.enabled) 9000 -}}
{{- if $v.relay.enabled }}{{ $numbers = append $numbers 9443 }}{{ end -}}
{{- range $v.extraPorts -}}
{{- if has (int .containerPort) $numbers }}{{ $wrong = append $wrong (printf "extraPorts: containerPort %d is there already; a port need not be listed to be reached" (int .containerPort)) }}{{ end -}}
{{- $numbers = append $numbers (int .containerPort) -}}
{{- end -}}
{{- with include "roomcast.strategy.wrong" . }}{{ $wrong = append $wrong . }}{{ end -}}
{{- with $v.podDisruptionBudget -}}
{{- $fewest := include "roomcast.fewest" $ | int -}}
{{- if and .enabled (gt $pods 1) -}}
{{- if not (kindIs "invalid" .minAvailable) -}}
{{- if ge (include "roomcast.share" (dict "value" .minAvailable "of" $fewest "up" true) | int) $fewest }}{{ $wrong = append $wrong (printf "podDisruptionBudget.minAvailable is %v, which lets no pod go while there are %d: no node with one could be drained; set podDisruptionBudget.minAvailable=null, which lets one go at a time, or more pods" .minAvailable $fewest) }}{{ end -}}
{{- else if has (.maxUnavailable | toString) (list "0" "0%") -}}
{{- $wrong = append $wrong (printf "podDisruptionBudget.maxUnavailable is %v, which lets no pod go: no node with one could be drained; set it to 1, or podDisruptionBudget.enabled=false" .maxUnavailable) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq (include "roomcast.internalOn" .) "loopback") (ne $v.metrics.monitor "none") -}}
{{- $wrong = append $wrong "internalService.listen=loopback keeps Prometheus out as well: set metrics.monitor=none, or internalService.listen=pod" -}}
{{- end -}}
{{- if and (eq (include "roomcast.internalOn" .) "loopback") (not $v.hostNetwork) -}}
{{- $wrong = append $wrong "internalService.listen=loopback is for pods on their node's network (hostNetwork=true): elsewhere no probe could reach them" -}}
{{- end -}}
{{- if or $v.merge $v.patch }}{{ $wrong = concat $wrong (include "roomcast.objects.unknown" . | fromYamlArray) }}{{ end -}}
{{- if $wrong -}}
{{- fail (printf "\n\nroomcast cannot be installed with these values:\n%s\n" (join "\n" (prepend $wrong "" | join "\n  - " | list))) -}}
{{- end -}}
{{- end -}}
