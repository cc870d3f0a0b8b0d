{{/*
What all templates share: names, labels, and the one environment that everything else is derived from.
*/}}

{{/* A text of at most so many characters, with a valid end for a name or a label: (list text length). */}}
{{- define "exchanger.cut" -}}
{{- regexReplaceAll "[^A-Za-z0-9]+$" (trunc (index . 1) (index . 0)) "" -}}
{{- end -}}

{{/* The application's name in labels. */}}
{{- define "exchanger.name" -}}
{{- include "exchanger.cut" (list (default .Chart.Name .Values.nameOverride) 63) -}}
{{- end -}}

{{/* The name of objects that the release has one of. A release may have dots in its name, but a Service may not, since it is a part of a host name. */}}
{{- define "exchanger.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := .Values.fullnameOverride | default (ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name)) -}}
{{- include "exchanger.cut" (list ($full | replace "." "-") 63) -}}
{{- end -}}

{{/* The name of objects outside of the release's namespace. Neither part has a dot, so that no two releases share one. */}}
{{- define "exchanger.clusterName" -}}
{{- printf "%s.%s" .Release.Namespace (include "exchanger.fullname" .) -}}
{{- end -}}

{{/* Labels that select the service's pods; they never change within a release. */}}
{{- define "exchanger.selectorLabels" -}}
app.kubernetes.io/name: {{ include "exchanger.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "exchanger.labels" -}}
{{- toYaml (mergeOverwrite (include "exchanger.commonLabels" . | fromYaml) (include "exchanger.selectorLabels" . | fromYaml)) -}}
{{- end -}}

{{/* Labels of every object, without those that select the service's pods. */}}
{{- define "exchanger.commonLabels" -}}
{{- $chart := include "exchanger.cut" (list (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") 63) -}}
{{- toYaml (mergeOverwrite (include "exchanger.plainLabels" . | fromYaml) (dict "helm.sh/chart" $chart "app.kubernetes.io/managed-by" .Release.Service)) -}}
{{- end -}}

{{- define "exchanger.plainLabels" -}}
{{- toYaml (merge (dict) (.Values.commonLabels | default dict) (dict "app.kubernetes.io/version" .Chart.AppVersion "app.kubernetes.io/part-of" "exchanger")) -}}
{{- end -}}

{{/* Labels of pods: none that changes with the chart alone, since that would replace all pods. */}}
{{- define "exchanger.podLabels" -}}
{{- toYaml (mergeOverwrite (include "exchanger.plainLabels" . | fromYaml) (.Values.podLabels | default dict) (include "exchanger.selectorLabels" . | fromYaml)) -}}
{{- end -}}

{{/* The Service's name, and its name from other namespaces. */}}
{{- define "exchanger.serviceName" -}}
{{- include "exchanger.fullname" . -}}
{{- end -}}
{{- define "exchanger.serviceHost" -}}
{{- printf "%s.%s.svc.%s" (include "exchanger.serviceName" .) .Release.Namespace .Values.clusterDomain -}}
{{- end -}}

{{/* The Service whose name resolves to all pods, if there is one, and its name from other namespaces. */}}
{{- define "exchanger.headlessName" -}}
{{- if .Values.service.headless -}}{{- printf "%s-headless" (include "exchanger.cut" (list (include "exchanger.fullname" .) 54)) -}}{{- end -}}
{{- end -}}
{{- define "exchanger.podsHost" -}}
{{- printf "%s.%s.svc.%s" (include "exchanger.headlessName" . | default (include "exchanger.serviceName" .)) .Release.Namespace .Values.clusterDomain -}}
{{- end -}}

{{- define "exchanger.serviceAccountName" -}}
{{- if or .Values.rbac.serviceAccountName .Values.serviceAccountName -}}
{{- .Values.rbac.serviceAccountName | default .Values.serviceAccountName -}}
{{- else if .Values.rbac.create -}}
{{- include "exchanger.fullname" . -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{/* A parent's registry is for all images. A digest identifies the image; the tag next to it is for people. */}}
{{- define "exchanger.image" -}}
{{- with (.Values.global | default dict).imageRegistry | default .Values.image.registry -}}{{- trimSuffix "/" . -}}/{{- end -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- with .Values.image.digest -}}@{{ . }}{{- end -}}
{{- end -}}

{{- define "exchanger.issuerProfilesName" -}}
{{- if .Values.issuerProfiles.existingConfigMap -}}
{{- .Values.issuerProfiles.existingConfigMap -}}
{{- else -}}
{{- .Values.issuerProfiles.configMapName | default (printf "%s-issuer-profiles" (include "exchanger.fullname" .)) -}}
{{- end -}}
{{- end -}}

{{/* The ConfigMap with the names of the Namespaces to follow, if they are named. */}}
{{- define "exchanger.policyNamespacesName" -}}
{{- printf "%s-policy-namespaces" (include "exchanger.fullname" .) -}}
{{- end -}}

{{/* The ConfigMap with the grants, if there are any. */}}
{{- define "exchanger.policyGrantsName" -}}
{{- printf "%s-policy-grants" (include "exchanger.fullname" .) -}}
{{- end -}}

{{/* The Secret with the credentials for profiles that have none. */}}
{{- define "exchanger.oauthSecretName" -}}
{{- ternary .Values.oauth.secretName (.Values.oauth.existingSecret.name | default "") .Values.oauth.createSecret -}}
{{- end -}}

{{/* The profiles in the values (JSON of a list), both lists as one. */}}
{{- define "exchanger.profiles" -}}
{{- toJson (concat (.Values.issuerProfiles.profiles | default list) (.Values.issuerProfiles.extraProfiles | default list)) -}}
{{- end -}}

{{/* The profiles as the service reads them (JSON of a list), with the credentials of `oauth` if a profile names none. */}}
{{- define "exchanger.issuers" -}}
{{- /* Fields that protect nothing, which may be empty. Others reach the service as they are: `issuedToken: {}` means the defaults. */ -}}
{{- $emptied := list "tokenEndpoint" "bearerRealm" "tokenEndpointAuthMethod" "tokenEndpointProtocol" "proxy" "clientID" "clientSecret" "clientIDSecretRef" "clientSecretSecretRef" -}}
{{- $issuers := list -}}
{{- range (include "exchanger.profiles" . | fromJsonArray) -}}
{{- $issuer := dict -}}
{{- range $field, $value := . -}}
{{- if and (kindIs "map" $value) (not $value.namespace) -}}{{- $value = omit $value "namespace" -}}{{- end -}}
{{- if or $value (not (has $field $emptied)) -}}{{- $_ := set $issuer $field $value -}}{{- end -}}
{{- end -}}
{{- if include "exchanger.hasClientSecret" . -}}
{{- $name := include "exchanger.oauthSecretName" $ -}}
{{- if not (or .clientID .clientIDSecretRef) -}}
{{- $_ := set $issuer "clientIDSecretRef" (dict "name" $name "key" $.Values.oauth.existingSecret.clientIDKey) -}}
{{- end -}}
{{- if not (or .clientSecret .clientSecretFile .clientSecretSecretRef) -}}
{{- $_ := set $issuer "clientSecretSecretRef" (dict "name" $name "key" $.Values.oauth.existingSecret.clientSecretKey) -}}
{{- end -}}
{{- end -}}
{{- $issuers = append $issuers $issuer -}}
{{- end -}}
{{- toJson $issuers -}}
{{- end -}}

{{/* "true" if the client of a profile authenticates with a secret, its own or that of `oauth`. */}}
{{- define "exchanger.hasClientSecret" -}}
{{- if not (or .clientAssertion .clientAssertionFile .clientCertificate (eq (toString .tokenEndpointAuthMethod) "none")) -}}true{{- end -}}
{{- end -}}

{{/* "true" if a profile holds a client secret itself: the profiles are then a Secret instead of a ConfigMap. */}}
{{- define "exchanger.profilesAreSecret" -}}
{{- range (include "exchanger.profiles" . | fromJsonArray) -}}{{- if .clientSecret -}}true{{- end -}}{{- end -}}
{{- end -}}

{{/* Names of the Secrets to read, by namespace (JSON): those that profiles refer to, and `rbac.secrets`. */}}
{{- define "exchanger.secretsByNamespace" -}}
{{- $found := dict -}}
{{- $references := list -}}
{{- if not .Values.issuerProfiles.existingConfigMap -}}
{{- range (include "exchanger.issuers" . | fromJsonArray) -}}
{{- $references = concat $references (compact (list .clientIDSecretRef .clientSecretSecretRef (.clientAssertion | default dict).keySecretRef)) -}}
{{- end -}}
{{- end -}}
{{- range concat $references (.Values.rbac.secrets | default list) -}}
{{- $namespace := .namespace | default $.Release.Namespace -}}
{{- $_ := set $found $namespace (append (get $found $namespace | default list) .name | uniq | sortAlpha) -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* The Secret with certificate and key of the TLS listener; empty without one. */}}
{{- define "exchanger.tlsSecretName" -}}
{{- .Values.tls.secretName | default (include "exchanger.wiring.tlsSecretName" .) -}}
{{- end -}}

{{/*
`env` as a list of {name, value} or {name, valueFrom} (JSON), in either of its two forms. Empty variables are left out: they have no
meaning, but would silently override a value of the chart, such as the denial of unmatched requests. A list keeps its order;
a map has none, so variables that refer to others come after them.
*/}}
{{- define "exchanger.userEnvironment" -}}
{{- $list := list -}}
{{- if kindIs "slice" .Values.env -}}
{{- range .Values.env -}}
{{- $list = append $list (ternary (dict "name" .name "valueFrom" .valueFrom) (dict "name" .name "value" (include "exchanger.text" .value)) (hasKey . "valueFrom")) -}}
{{- end -}}
{{- else -}}
{{- range $name, $value := .Values.env -}}
{{- if kindIs "map" $value -}}
{{- /* Left out as with null, but its value stays in the file. */ -}}
{{- if eq (toString $value.enabled) "false" -}}
{{- else if hasKey $value "valueFrom" -}}
{{- $list = append $list (dict "name" $name "valueFrom" $value.valueFrom) -}}
{{- else -}}
{{- $list = append $list (dict "name" $name "value" (include "exchanger.text" $value.value)) -}}
{{- end -}}
{{- else -}}
{{- $list = append $list (dict "name" $name "value" (include "exchanger.text" $value)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $kept := list -}}
{{- $referring := list -}}
{{- range $list -}}
{{- if and (kindIs "map" $.Values.env) .value (contains "$(" .value) -}}
{{- $referring = append $referring . -}}
{{- else if or .value .valueFrom -}}
{{- $kept = append $kept . -}}
{{- end -}}
{{- end -}}
{{- toJson (concat $kept $referring) -}}
{{- end -}}

{{/* The Secrets of the store that replicas share (JSON of a list): `volume`, `secretName`, `key`, `mountPath` and the `variable` with the path. */}}
{{- define "exchanger.tokenCacheVolumes" -}}
{{- $found := list -}}
{{- with .Values.tokenCache -}}
{{- if .url -}}
{{- range list (list "keys" "KEY_FILE" .keySecretName .keySecretKey) (list "password" "PASSWORD_FILE" .password.secretName .password.key) (list "ca" "CA_FILE" .ca.secretName .ca.key) -}}
{{- if index . 2 -}}
{{- $volume := printf "token-cache-%s" (index . 0) -}}
{{- $found = append $found (dict "volume" $volume "secretName" (index . 2) "key" (index . 3) "mountPath" (printf "/etc/exchanger/%s" $volume) "variable" (printf "TOKEN_CACHE_%s" (index . 1))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* The volumes of the port for gateways that ask over HTTP, as a JSON list; `files` are its variables and their files in the volume. */}}
{{- define "exchanger.httpAuthzVolumes" -}}
{{- $found := list -}}
{{- with .Values.httpAuthz -}}
{{- if .enabled -}}
{{- if .secretName -}}{{- $found = append $found (list "secret" .secretName (dict "SECRET_FILE" .secretKey)) -}}{{- end -}}
{{- if .tls.secretName -}}{{- $found = append $found (list "tls" .tls.secretName (dict "TLS_CERT_FILE" "tls.crt" "TLS_KEY_FILE" "tls.key")) -}}{{- end -}}
{{- if .tls.clientCA.secretName -}}{{- $found = append $found (list "client-ca" .tls.clientCA.secretName (dict "TLS_CLIENT_CA_FILE" .tls.clientCA.key)) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- $volumes := list -}}
{{- range $found -}}
{{- $volume := printf "http-authz-%s" (index . 0) -}}
{{- $volumes = append $volumes (dict "volume" $volume "secretName" (index . 1) "mountPath" (printf "/etc/exchanger/%s" $volume) "files" (index . 2)) -}}
{{- end -}}
{{- toJson $volumes -}}
{{- end -}}

{{/* Where the audit log goes: `stdout`, a path, or "". YAML reads a plain `off` as false. */}}
{{- define "exchanger.auditLog" -}}
{{- with .Values.audit.log -}}{{- if ne (lower .) "off" -}}{{- . -}}{{- end -}}{{- end -}}
{{- end -}}

{{/* The folder of the audit log's file, "" without one. */}}
{{- define "exchanger.auditFolder" -}}
{{- $log := include "exchanger.auditLog" . -}}
{{- if hasPrefix "/" $log -}}{{- dir $log -}}{{- end -}}
{{- end -}}

{{/* The Secret with the audit log's keys, "" without one. */}}
{{- define "exchanger.auditKeys" -}}
{{- if and (include "exchanger.auditLog" .) (eq .Values.audit.identities "keyed") -}}{{- .Values.audit.keySecretName -}}{{- end -}}
{{- end -}}

{{/* "true" if a signal ("TRACES" or "METRICS") goes to a collector: (list $ signal). OpenTelemetry's variable is a list. */}}
{{- define "exchanger.exports" -}}
{{- if include "exchanger.isOn" (list (index . 0) "OTEL_SDK_DISABLED") -}}
{{- else if regexMatch "(^|,)\\s*otlp\\s*(,|$)" (include "exchanger.variable" (list (index . 0) (printf "OTEL_%s_EXPORTER" (index . 1))) | lower) -}}true{{- end -}}
{{- end -}}

{{/* A YAML scalar as text. Null is not text; whole numbers are floats here, and would become 1e+06. */}}
{{- define "exchanger.text" -}}
{{- if kindIs "invalid" . -}}{{- else if kindIs "float64" . -}}{{- if eq (floor .) . -}}{{- int64 . -}}{{- else -}}{{- . -}}{{- end -}}{{- else -}}{{- toString . -}}{{- end -}}
{{- end -}}

{{/* The service's variables from the values: name to text (JSON). Empty texts are left out, so the service's default applies. */}}
{{- define "exchanger.valuesEnvironment" -}}
{{- $exchange := .Values.tokenExchange -}}
{{- $client := $exchange.httpClient -}}
{{- $all := dict
  "CONFIGMAP_LABEL_SELECTOR" .Values.policy.configMapSelector
  "CONFIGMAP_NAMESPACE_SELECTOR" .Values.policy.namespaceSelector
  "GRPC_LOG_HEALTH_CHECKS" .Values.log.healthChecks
  "GRPC_PORT" (index .Values.ports "grpc-authz").containerPort
  "LOG_DECISIONS" .Values.log.decisions
  "LOG_FORMAT" .Values.log.format
  "LOG_LEVEL" .Values.log.level
  "METRICS_ENABLED" .Values.metrics.enabled
  "METRICS_PATH" .Values.metrics.path
  "METRICS_PORT" (index .Values.ports "http-metrics").containerPort
  "OTEL_EXPORTER_OTLP_ENDPOINT" .Values.otel.endpoint
  "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT" .Values.otel.metricsEndpoint
  "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" .Values.otel.tracesEndpoint
  "OTEL_METRICS_EXPORTER" .Values.otel.metricsExporter
  "OTEL_RESOURCE_ATTRIBUTES" .Values.otel.resourceAttributes
  "OTEL_SDK_DISABLED" .Values.otel.sdkDisabled
  "OTEL_SERVICE_NAME" .Values.otel.serviceName
  "OTEL_TRACES_EXPORTER" .Values.otel.tracesExporter
  "POLICY_EVENTS" .Values.policy.events
  "POLICY_GRANTS_FILE" (ternary "" "/etc/exchanger/policy-grants/grants.yaml" (empty .Values.policy.grants))
  "POLICY_GRANTS_MODE" (ternary "" .Values.policy.grantsMode (empty .Values.policy.grants))
  "POLICY_MAX_FAIL_CLOSED_SCOPES" .Values.policy.maxFailClosedScopes
  "POLICY_MAX_DOCUMENTS" .Values.policy.maxDocuments
  "POLICY_MAX_ENTRIES" .Values.policy.maxEntries
  "POLICY_MAX_SIZE_KIB" .Values.policy.maxSizeKiB
  "POLICY_MAX_STALENESS" .Values.policy.maxStaleness
  "POLICY_REQUIRED" .Values.policy.required
  "POLICY_NAMESPACES_FILE" (ternary "/etc/exchanger/policy-namespaces/namespaces" "" (not (empty .Values.policyNamespaces)))
  "POLICY_UNREADABLE_REACH" .Values.policy.unreadableReach
  "SHUTDOWN_GRACE_PERIOD" .Values.shutdown.gracePeriod
  "TOKEN_CACHE_NAMESPACE" (ternary .Values.tokenCache.namespace "" (not (empty .Values.tokenCache.url)))
  "TOKEN_CACHE_URL" .Values.tokenCache.url
  "TOKEN_CACHE_USERNAME" (ternary .Values.tokenCache.username "" (not (empty .Values.tokenCache.url)))
  "TOKEN_ENDPOINT_AUTH_METHOD" $exchange.tokenEndpointAuthMethod
  "TOKEN_ENDPOINT_CONNECTION_REUSE" $client.connectionReuse
  "TOKEN_ENDPOINT_DIAL_TIMEOUT" $client.dialTimeout
  "TOKEN_ENDPOINT_IDLE_CONN_TIMEOUT" $client.idleConnTimeout
  "TOKEN_ENDPOINT_MAX_IDLE_CONNS" $client.maxIdleConns
  "TOKEN_ENDPOINT_MAX_IDLE_CONNS_PER_HOST" $client.maxIdleConnsPerHost
  "TOKEN_ENDPOINT_REQUEST_TIMEOUT" $client.requestTimeout
  "TOKEN_ENDPOINT_RESPONSE_HEADER_TIMEOUT" $client.responseHeaderTimeout
  "TOKEN_ENDPOINT_TLS_HANDSHAKE_TIMEOUT" $client.tlsHandshakeTimeout
  "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT" $exchange.allowHttpTokenEndpoint
  "TOKEN_EXCHANGE_ALLOW_UNAUTHENTICATED_OPTIONS" $exchange.allowUnauthenticatedOptions
  "TOKEN_EXCHANGE_BEARER_REALM" $exchange.bearerRealm
  "TOKEN_EXCHANGE_DEFAULT_DENY_UNMATCHED" $exchange.defaultDenyUnmatched
  "TOKEN_EXCHANGE_ERROR_PASSTHROUGH" $exchange.errorPassthrough
  "TOKEN_EXCHANGE_EXPECTED_ISSUED_TOKEN_TYPE" $exchange.expectedIssuedTokenType
  "TOKEN_EXCHANGE_GRANT_TYPE" $exchange.grantType
  "TOKEN_EXCHANGE_INSECURE_LOG_TOKENS" $exchange.insecureLogTokens
  "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE" (printf "%s/%s" (.Values.issuerProfiles.mountPath | trimSuffix "/") .Values.issuerProfiles.fileName)
  "TOKEN_EXCHANGE_REQUIRE_ISSUED_TOKEN_TYPE" $exchange.requireIssuedTokenType
  "TOKEN_EXCHANGE_SUBJECT_TOKEN_TYPE" $exchange.subjectTokenType
-}}
{{- if include "exchanger.tlsSecretName" . -}}
{{- $_ := set $all "GRPC_TLS_PORT" (include "exchanger.wiring.gkeTlsPort" . | default (index .Values.ports "grpc-authz-tls").containerPort) -}}
{{- $_ := set $all "GRPC_TLS_CERT_FILE" "/etc/exchanger/tls/tls.crt" -}}
{{- $_ := set $all "GRPC_TLS_KEY_FILE" "/etc/exchanger/tls/tls.key" -}}
{{- if .Values.tls.clientCA.secretName -}}
{{- $_ := set $all "GRPC_TLS_CLIENT_CA_FILE" (printf "/etc/exchanger/client-ca/%s" .Values.tls.clientCA.key) -}}
{{- end -}}
{{- end -}}
{{- if .Values.httpAuthz.enabled -}}
{{- $_ := set $all "HTTP_AUTHZ_PORT" (index .Values.ports "http-authz").containerPort -}}
{{- $_ := set $all "HTTP_AUTHZ_HOST" "*" -}}
{{- end -}}
{{- range $volume := include "exchanger.httpAuthzVolumes" . | fromJsonArray -}}
{{- range $name, $file := $volume.files -}}
{{- $_ := set $all (printf "HTTP_AUTHZ_%s" $name) (printf "%s/%s" $volume.mountPath $file) -}}
{{- end -}}
{{- end -}}
{{- range include "exchanger.tokenCacheVolumes" . | fromJsonArray -}}
{{- $_ := set $all .variable (printf "%s/%s" .mountPath .key) -}}
{{- end -}}
{{- with include "exchanger.auditLog" . -}}
{{- $_ := set $all "AUDIT_LOG" . -}}
{{- $_ := set $all "AUDIT_IDENTITIES" $.Values.audit.identities -}}
{{- $_ := set $all "AUDIT_REQUIRED" $.Values.audit.required -}}
{{- if include "exchanger.auditKeys" $ -}}
{{- $_ := set $all "AUDIT_KEY_FILE" (printf "/etc/exchanger/audit-keys/%s" $.Values.audit.keySecretKey) -}}
{{- end -}}
{{- end -}}
{{- if .Values.console.enabled -}}
{{- /* kubectl port-forward connects within the pod, so no other access is needed. */ -}}
{{- $_ := set $all "CONSOLE_ADDRESS" (printf "127.0.0.1:%s" (include "exchanger.consolePort" .)) -}}
{{- if .Values.console.token.secretName -}}
{{- $_ := set $all "CONSOLE_TOKEN_FILE" (printf "/etc/exchanger/console/%s" .Values.console.token.key) -}}
{{- end -}}
{{- end -}}
{{- $given := dict -}}
{{- range $name, $value := $all -}}
{{- $text := include "exchanger.text" $value -}}
{{- if $text -}}{{- $_ := set $given $name $text -}}{{- end -}}
{{- end -}}
{{- toJson $given -}}
{{- end -}}

{{/*
The value that the service will read for one variable: include "exchanger.variable" (list . "METRICS_PORT"). `env` wins over the values, so
everything that depends on a variable (ports, probes, rights, monitors) must use this and not the values.
*/}}
{{- define "exchanger.variable" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $text := get (include "exchanger.valuesEnvironment" $root | fromJson) $name -}}
{{- range (include "exchanger.userEnvironment" $root | fromJsonArray) -}}
{{- if and (eq .name $name) .value -}}{{- $text = .value -}}{{- end -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{/* "true" if a variable is on, in any spelling that the service accepts. */}}
{{- define "exchanger.isOn" -}}
{{- if has (include "exchanger.variable" . | lower | trim) (list "1" "true" "yes" "on") -}}true{{- end -}}
{{- end -}}

{{/* Ports of the container on which the service will listen. */}}
{{- define "exchanger.grpcPort" -}}{{- include "exchanger.variable" (list . "GRPC_PORT") -}}{{- end -}}
{{- define "exchanger.grpcTlsPort" -}}{{- include "exchanger.variable" (list . "GRPC_TLS_PORT") -}}{{- end -}}
{{- define "exchanger.httpAuthzPort" -}}{{- include "exchanger.variable" (list . "HTTP_AUTHZ_PORT") -}}{{- end -}}
{{- define "exchanger.metricsPort" -}}{{- include "exchanger.variable" (list . "METRICS_PORT") -}}{{- end -}}
{{- define "exchanger.metricsEnabled" -}}{{- include "exchanger.isOn" (list . "METRICS_ENABLED") -}}{{- end -}}
{{- define "exchanger.metricsPath" -}}{{- include "exchanger.variable" (list . "METRICS_PATH") -}}{{- end -}}

{{/* Port of the console on the pod's loopback address; empty without one. It is not a port of the container: only the pod itself reaches it. */}}
{{- define "exchanger.consolePort" -}}
{{- if .Values.console.enabled -}}{{- include "exchanger.text" .Values.console.port -}}{{- end -}}
{{- end -}}

{{/* A part of a duration in Go's format (https://pkg.go.dev/time#ParseDuration); there are two letters for micro. */}}
{{- define "exchanger.durationPart" -}}
([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h)
{{- end -}}

{{/* Milliseconds, with fractions, of a duration such as 750ms, 1m30s or 500us; 0 if it is empty. */}}
{{- define "exchanger.milliseconds" -}}
{{- $units := dict "ns" 0.000001 "us" 0.001 "µs" 0.001 "μs" 0.001 "ms" 1 "s" 1000 "m" 60000 "h" 3600000 -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll (include "exchanger.durationPart" .) . -1 -}}
{{- $number := regexFind "[0-9.]+" . -}}
{{- $sum = addf $sum (mulf (float64 $number) (get $units (trimPrefix $number .))) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* Seconds of a duration, with fractions. */}}
{{- define "exchanger.exactSeconds" -}}
{{- divf (include "exchanger.milliseconds" . | float64) 1000 -}}
{{- end -}}

{{/* Whole seconds of a duration, rounded up. */}}
{{- define "exchanger.seconds" -}}
{{- ceil (include "exchanger.exactSeconds" . | float64) | int -}}
{{- end -}}

{{/*
How long a stopping pod keeps serving, and for how many seconds a new one must be ready. Google's load balancer learns of pods by its own
health checks, seconds apart, while other gateways are told by Kubernetes.
*/}}
{{- define "exchanger.preStopSleep" -}}
{{- .Values.shutdown.preStopSleep | default (ternary "30s" "5s" (eq (include "exchanger.wiring.gkeCallout" .) "true")) -}}
{{- end -}}
{{- define "exchanger.minReadySeconds" -}}
{{- $given := include "exchanger.text" .Values.minReadySeconds -}}
{{- $given | default (ternary "10" "5" (eq (include "exchanger.wiring.gkeCallout" .) "true")) -}}
{{- end -}}

{{/* Seconds that a pod needs to end: the sleep before SIGTERM, and the running checks after it. */}}
{{- define "exchanger.shutdownSeconds" -}}
{{- add (include "exchanger.seconds" (include "exchanger.preStopSleep" .)) (include "exchanger.seconds" (include "exchanger.variable" (list . "SHUTDOWN_GRACE_PERIOD"))) -}}
{{- end -}}

{{/* A probe: (list values handler service); the handler is for values without one, the service is the health name for a gRPC handler. */}}
{{- define "exchanger.probe" -}}
{{- $probe := index . 0 | default dict -}}
{{- if not (or $probe.exec $probe.httpGet $probe.tcpSocket) -}}
{{- $probe = merge (dict) $probe (index . 1) -}}
{{- end -}}
{{- if and (eq (len .) 3) $probe.grpc -}}
{{- $probe = mergeOverwrite (deepCopy $probe) (dict "grpc" (dict "service" (index . 2))) -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end -}}

{{/* The number of pods in the cluster, if only Helm has set it so far. */}}
{{- define "exchanger.unownedReplicas" -}}
{{- with lookup "apps/v1" "Deployment" .Release.Namespace (include "exchanger.fullname" .) -}}
{{- $owned := false -}}
{{- range .metadata.managedFields -}}
{{- if eq (.subresource | default "") "scale" -}}{{- $owned = true -}}{{- end -}}
{{- end -}}
{{- if not $owned -}}{{- .spec.replicas -}}{{- end -}}
{{- end -}}
{{- end -}}

{{/* "true" if the Service has a port for metrics. */}}
{{- define "exchanger.metricsServicePort" -}}
{{- if and (include "exchanger.metricsEnabled" .) (or .Values.metrics.servicePort .Values.serviceMonitor.enabled) -}}true{{- end -}}
{{- end -}}

{{/* "true" if gateways may connect without TLS. */}}
{{- define "exchanger.plaintext" -}}
{{- if not (and .Values.tls.only (include "exchanger.tlsSecretName" .)) -}}true{{- end -}}
{{- end -}}

{{/* Metadata of an object in the release's namespace: (list root name). */}}
{{- define "exchanger.metadata" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 | quote }}
namespace: {{ $root.Release.Namespace | quote }}
labels:
  {{- include "exchanger.labels" $root | nindent 2 }}
{{- end -}}

{{/* Host and port of an address, unchanged; the whole text if it is not an address. */}}
{{- define "exchanger.authority" -}}
{{- regexReplaceAll "(?s)^[^:]*://([^/?#]*).*$" . "${1}" -}}
{{- end -}}

{{/* "true" if a text is the number of a port, without zeros before it. */}}
{{- define "exchanger.isPort" -}}
{{- if and (regexMatch "^[1-9][0-9]{0,4}$" .) (le (int .) 65535) -}}true{{- end -}}
{{- end -}}

{{/*
The problem of an http or https address, in words that follow its name; nothing if it is usable. The address is not repeated, since it may
contain a password.
*/}}
{{- define "exchanger.addressProblem" -}}
{{- $authority := include "exchanger.authority" . -}}
{{- $port := regexFind ":[0-9]*$" $authority -}}
{{- if contains "@" $authority -}}
must not have user information, which anyone who can read the release would see
{{- else if contains "#" . -}}
must not have a fragment
{{- else if not (regexMatch "^(\\[[0-9A-Fa-f:.]+\\]|[^\\[\\]:@<>\"\\\\^`{|}%$()\\s]+)(:[0-9]*)?$" $authority) -}}
has no usable host and port
{{- else if and (gt (len $port) 1) (not (include "exchanger.isPort" (trimPrefix ":" $port))) -}}
has an invalid port
{{- end -}}
{{- end -}}

{{/* Addresses of the collectors to which something is exported (JSON of a list). */}}
{{- define "exchanger.collectors" -}}
{{- $collectors := list -}}
{{- range list "TRACES" "METRICS" -}}
{{- if include "exchanger.exports" (list $ .) -}}
{{- $own := include "exchanger.variable" (list $ (printf "OTEL_EXPORTER_OTLP_%s_ENDPOINT" .)) -}}
{{- $collectors = append $collectors ($own | default (include "exchanger.variable" (list $ "OTEL_EXPORTER_OTLP_ENDPOINT"))) -}}
{{- end -}}
{{- end -}}
{{- toJson (compact $collectors) -}}
{{- end -}}

{{/*
Addresses of the proxies in the service's environment (JSON of a list), except those that only the pod will know.
*/}}
{{- define "exchanger.environmentProxies" -}}
{{- $proxies := list -}}
{{- if include "exchanger.isOn" (list . "TOKEN_ENDPOINT_PROXY_FROM_ENVIRONMENT") -}}
{{- range (ternary (list "HTTPS_PROXY" "HTTP_PROXY") (list "HTTPS_PROXY") (ne "" (include "exchanger.isOn" (list . "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT")))) -}}
{{- $text := include "exchanger.variable" (list $ .) | trim | default (include "exchanger.variable" (list $ (lower .)) | trim) -}}
{{- if and $text (not (contains "$(" $text)) -}}
{{- $proxies = append $proxies (ternary $text (printf "http://%s" $text) (contains "://" $text)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $proxies -}}
{{- end -}}

{{/*
An egress rule for an address: (list root address). A NetworkPolicy sees the pod behind a Service, whose port is unknown here, so a
Service's name opens its namespace, and any other name the port of the address. Only the cluster's own domain makes a name a Service's: `svc`
may be a part of any other, too. A name of one part is a Service in the release's namespace, unless it ends with a dot. A name of two parts may
be either.
*/}}
{{- define "exchanger.egressOfAddress" -}}
{{- $address := index . 1 -}}
{{- $authority := include "exchanger.authority" $address -}}
{{- $name := regexReplaceAll ":[0-9]*$" $authority "" | lower -}}
{{- $host := trimSuffix "." $name -}}
{{- $parts := splitList "." (trimSuffix (printf ".%s" (index . 0).Values.clusterDomain) $host) -}}
{{- if and (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $name) (ne $name "localhost") -}}
to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ (index . 0).Release.Namespace | quote }}}}}]
{{- else if and (eq (len $parts) 3) (eq (last $parts) "svc") -}}
to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ index $parts 1 | quote }}}}}]
{{- else -}}
{{- $port := regexFind ":[0-9]+$" $authority | trimPrefix ":" | default (ternary "80" "443" (hasPrefix "http:" $address)) -}}
ports: [{protocol: TCP, port: {{ $port }}}]
{{- end -}}
{{- end -}}

{{/*
"true" if one of a list of peers is everybody: pods of all namespaces, or all addresses. Exceptions from all addresses do not count.
*/}}
{{- define "exchanger.everybody" -}}
{{- $found := "" -}}
{{- range . -}}
{{- $chosen := false -}}
{{- range list .namespaceSelector .podSelector -}}
{{- if or (. | default dict).matchLabels (. | default dict).matchExpressions -}}{{- $chosen = true -}}{{- end -}}
{{- end -}}
{{- if or (hasSuffix "/0" ((.ipBlock | default dict).cidr | default "")) (and (hasKey . "namespaceSelector") (not $chosen)) -}}{{- $found = "true" -}}{{- end -}}
{{- end -}}
{{- $found -}}
{{- end -}}

{{/* Egress rules for DNS and the API server, from `networkPolicy.egress`. */}}
{{- define "exchanger.egressToCluster" -}}
# DNS
- ports:
    {{- range .dnsPorts }}
    - {protocol: UDP, port: {{ . }}}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with .dns }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
# The API server
- ports:
    {{- range .apiServer.ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with .apiServer.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Egress rules of values with `to` and `ports` (numbers). */}}
{{- define "exchanger.egressRules" -}}
{{- range . }}
- {{ with .to }}to: {{ toJson . }}{{ end }}
  {{- with .ports }}
  ports:
    {{- range . }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/*
"true" for a label selector that Kubernetes accepts
(https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors): include "exchanger.isSelector" "a=b,!c".
*/}}
{{- define "exchanger.isSelector" -}}
{{- $name := "[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?" -}}
{{- $subdomain := "[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*" -}}
{{- $key := printf "(%s/)?%s" $subdomain $name -}}
{{- $value := printf "(%s)?" $name -}}
{{- $set := printf "[(]\\s*(%s\\s*(,\\s*%s\\s*)*|(,\\s*%s\\s*)+)[)]" $name $value $value -}}
{{- $requirement := printf "(!\\s*%s|%s(\\s*(=|==|!=)\\s*%s|\\s+(in|notin)\\s*%s|\\s*[<>]\\s*0*[0-9]{1,19})?)" $key $key $value $set -}}
{{- if regexMatch (printf "^\\s*%s\\s*(,\\s*%s\\s*)*$" $requirement $requirement) . -}}true{{- end -}}
{{- end -}}

{{/*
Why a volume cannot be mounted at a path, empty if it can: include "exchanger.mountProblem" "/etc". Over a system folder it would hide what
the service needs (its program, libraries, CA certificates, the token of its ServiceAccount), and the pod would not start or not work.
*/}}
{{- define "exchanger.mountProblem" -}}
{{- $place := clean . -}}
{{- if not (hasPrefix "/" .) -}}{{ printf "%q does not begin with a slash" . }}
{{- else if regexMatch "(^|/)[.][.](/|$)" . -}}{{ printf "%s has .. in it, so that it says less than where the volume will be" . }}
{{- else if regexMatch "^(/|/(bin|boot|dev|etc|lib|lib32|lib64|libx32|opt|proc|run|sbin|sys|usr|var)|/etc/(ssl|pki|exchanger)|/(usr|var)/(bin|lib|lib64|local|sbin|share|run)|/(var/)?run/secrets)$" $place -}}{{ printf "a volume at %s would hide what is there in the image or the pod" $place }}
{{- else if regexMatch "^/(bin|dev|lib|lib32|lib64|libx32|opt/exchanger|proc|sbin|sys|usr/bin|usr/lib|usr/lib64|usr/sbin|(var/)?run/secrets/kubernetes[.]io)/" (printf "%s/" $place) -}}{{ printf "a volume at %s would lie over the system's own files" $place }}
{{- end -}}
{{- end -}}
