{{/*
What the templates that wire gateways share. Every helper that answers yes or no says "true" or nothing.

The meanings of `gatewayProvider` and `extensionMode` are those that values files of the reference rely on; the one difference is that no
provider is assumed where none is named.
*/}}

{{/* By which of Envoy's filters gateways ask. GKE's traffic extensions speak ext_proc, whatever else is said. */}}
{{- define "exchanger.wiring.mode" -}}
{{- ternary "ext_proc" .Values.extensionMode (eq .Values.gatewayProvider "gke-gateway") -}}
{{- end -}}

{{/* "true" where Istio is named as the provider and asks by ext_authz: policy and provider host are then made without a switch of their own. */}}
{{- define "exchanger.wiring.istioByName" -}}
{{- if and (eq .Values.gatewayProvider "local-istio") (eq (include "exchanger.wiring.mode" .) "ext_authz") -}}true{{- end -}}
{{- end -}}

{{- define "exchanger.wiring.authorizationPolicy" -}}
{{- if or .Values.authorizationPolicy.enabled (include "exchanger.wiring.istioByName" .) -}}true{{- end -}}
{{- end -}}

{{/* The host that the mesh's provider names is of use to ext_authz only, and where there is a mesh. */}}
{{- define "exchanger.wiring.providerHost" -}}
{{- if and (eq (include "exchanger.wiring.mode" .) "ext_authz") (or .Values.gatewayExtAuthzService.enabled (include "exchanger.wiring.istioByName" .)) -}}true{{- end -}}
{{- end -}}

{{- define "exchanger.wiring.gkeExtProc" -}}
{{- if or .Values.gkeExtProc.enabled (eq .Values.gatewayProvider "gke-gateway") -}}true{{- end -}}
{{- end -}}

{{/* "true" where Google's load balancer calls out to the service, by either protocol. */}}
{{- define "exchanger.wiring.gkeCallout" -}}
{{- if or .Values.gkeAuthz.enabled (include "exchanger.wiring.gkeExtProc" .) -}}true{{- end -}}
{{- end -}}

{{/*
"true" where Google's health checks ask the port without TLS by its number; otherwise they ask the port that is called. The policy for them may be
somebody else's, so its switch says nothing here. With `tls.only` that port is for probes alone.
*/}}
{{- define "exchanger.wiring.gkeHealthPort" -}}
{{- if and (include "exchanger.plaintext" .) (eq .Values.gkeAuthz.callout.healthCheck.portSpecification "USE_FIXED_PORT") -}}true{{- end -}}
{{- end -}}

{{- define "exchanger.wiring.gkeTls" -}}
{{- if and (include "exchanger.wiring.gkeCallout" .) .Values.gkeAuthz.callout.tls.enabled -}}true{{- end -}}
{{- end -}}

{{/* The port that GKE's callout gives the TLS listener, where `ports` says nothing else than its default; empty without such a callout. */}}
{{- define "exchanger.wiring.gkeTlsPort" -}}
{{- if and (include "exchanger.wiring.gkeTls" .) (eq (int (index .Values.ports "grpc-authz-tls").containerPort) 3000) -}}
{{- include "exchanger.text" .Values.gkeAuthz.callout.tls.port -}}
{{- end -}}
{{- end -}}

{{/* The Secret that GKE's callout has the service's TLS listener use; empty without such a callout. */}}
{{- define "exchanger.wiring.tlsSecretName" -}}
{{- if include "exchanger.wiring.gkeTls" . -}}{{- .Values.gkeAuthz.callout.tls.secretName -}}{{- end -}}
{{- end -}}

{{/* Labels that select gateways, of `authorizationPolicy` or `envoyFilter`. Helm merges maps, hence the override as a whole. */}}
{{- define "exchanger.wiring.selector" -}}
{{- toYaml (.workloadSelectorLabelsOverride | default .workloadSelectorLabels) -}}
{{- end -}}

{{/* The name of objects in the gateway's namespace, where a release of another namespace may have the same name. */}}
{{- define "exchanger.wiring.name" -}}
{{- printf "%s-%s" (include "exchanger.clusterName" .) (ternary "ext-proc" "authz" (eq (include "exchanger.wiring.mode" .) "ext_proc")) -}}
{{- end -}}

{{/* The number of the Service's port for plaintext gRPC. */}}
{{- define "exchanger.wiring.grpcPort" -}}
{{- (index .Values.service.ports "grpc-api").port -}}
{{- end -}}

{{/* The port without TLS where the provider's host leads to. */}}
{{- define "exchanger.wiring.hostPort" -}}
{{- ternary (include "exchanger.grpcPort" .) (include "exchanger.wiring.grpcPort" .) .Values.service.headless -}}
{{- end -}}

{{/* The names in the certificate of GKE's callout (JSON of a list); the first is the one that the load balancer looks for. */}}
{{- define "exchanger.wiring.gkeDnsNames" -}}
{{- $callout := .Values.gkeAuthz.callout -}}
{{- toJson ($callout.tls.certificate.dnsNames | default (list (include "exchanger.wiring.gkeHost" .))) -}}
{{- end -}}

{{- define "exchanger.wiring.gkeHost" -}}
{{- printf "%s.%s.svc.%s" .Values.gkeAuthz.callout.service.name .Release.Namespace .Values.clusterDomain -}}
{{- end -}}

{{/* A duration as protobuf's JSON has it: seconds only. */}}
{{- define "exchanger.wiring.protobufDuration" -}}
{{- printf "%gs" (divf (include "exchanger.milliseconds" . | float64) 1000) -}}
{{- end -}}

{{/* A duration as the Gateway API has it (GEP-2257): whole numbers of at most five digits. */}}
{{- define "exchanger.wiring.gatewayDuration" -}}
{{- $whole := ceil (include "exchanger.milliseconds" . | float64) | int64 -}}
{{- if mod $whole 1000 -}}{{- printf "%dms" $whole -}}{{- else -}}{{- printf "%ds" (div $whole 1000) -}}{{- end -}}
{{- end -}}

{{/*
A header in a regular expression, with the names that some servers take for it: the service removes these, too.
*/}}
{{- define "exchanger.wiring.spellings" -}}
{{- regexReplaceAll "[-_]" (regexQuoteMeta (lower .)) "[-_]" -}}
{{- end -}}

{{/*
What a callout may change: in a request the one header that an exchange replaces, and those that callers' tokens come in; the rules of ext_proc
hold for the headers of its own answers too, which are three. A change that is not allowed is an error, since a request whose change was dropped would go on with the caller's
own token. https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/common/mutation_rules/v3/mutation_rules.proto
*/}}
{{- define "exchanger.wiring.mutationRules" -}}
{{- $headers := list "authorization" -}}
{{- if ne (include "exchanger.wiring.mode" .) "ext_authz" -}}{{- $headers = concat $headers (list "content-type" "retry-after" "www-authenticate") -}}{{- end -}}
{{- range (include "exchanger.profiles" . | fromJsonArray) -}}
{{- range (.subjectToken | default dict).from -}}{{- $headers = append $headers (include "exchanger.wiring.spellings" .header) -}}{{- end -}}
{{- end -}}
{{- range .Values.issuerProfiles.subjectTokenHeaders -}}{{- $headers = append $headers (include "exchanger.wiring.spellings" .) -}}{{- end -}}
{{- $headers = uniq $headers -}}
disallow_all: true
allow_expression:
  regex: {{ ternary (printf "^%s$" (first $headers)) (printf "^(%s)$" (join "|" $headers)) (eq (len $headers) 1) }}
disallow_is_error: true
{{- end -}}
