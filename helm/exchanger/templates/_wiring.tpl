{{/*
What the templates that wire gateways share. Every helper that answers yes or no says "true" or nothing.

`gatewayProvider` and `extensionMode` mean what values files of the reference rely on, except that no provider is assumed if none is named.
*/}}

{{/* The filter that gateways use. GKE's traffic extensions speak ext_proc, whatever the other values. */}}
{{- define "exchanger.wiring.mode" -}}
{{- ternary "ext_proc" .Values.extensionMode (eq .Values.gatewayProvider "gke-gateway") -}}
{{- end -}}

{{/* "true" if Istio is the named provider and uses ext_authz: policy and provider host are then created without separate switches. */}}
{{- define "exchanger.wiring.istioByName" -}}
{{- if and (eq .Values.gatewayProvider "local-istio") (eq (include "exchanger.wiring.mode" .) "ext_authz") -}}true{{- end -}}
{{- end -}}

{{- define "exchanger.wiring.authorizationPolicy" -}}
{{- if or .Values.authorizationPolicy.enabled (include "exchanger.wiring.istioByName" .) -}}true{{- end -}}
{{- end -}}

{{/* The host of the mesh's provider is only useful for ext_authz, and with a mesh. */}}
{{- define "exchanger.wiring.providerHost" -}}
{{- if and (eq (include "exchanger.wiring.mode" .) "ext_authz") (or .Values.gatewayExtAuthzService.enabled (include "exchanger.wiring.istioByName" .)) -}}true{{- end -}}
{{- end -}}

{{- define "exchanger.wiring.gkeExtProc" -}}
{{- if or .Values.gkeExtProc.enabled (eq .Values.gatewayProvider "gke-gateway") -}}true{{- end -}}
{{- end -}}

{{/* "true" if Google's load balancer calls the service, by either protocol. */}}
{{- define "exchanger.wiring.gkeCallout" -}}
{{- if or .Values.gkeAuthz.enabled (include "exchanger.wiring.gkeExtProc" .) -}}true{{- end -}}
{{- end -}}

{{/*
"true" if Google's health checks use the plaintext port by its number; otherwise they use the port that is called. The policy for them may be the
user's own, so its switch does not matter here. With `tls.only` that port is only for probes.
*/}}
{{- define "exchanger.wiring.gkeHealthPort" -}}
{{- if and (include "exchanger.plaintext" .) (eq .Values.gkeAuthz.callout.healthCheck.portSpecification "USE_FIXED_PORT") -}}true{{- end -}}
{{- end -}}

{{- define "exchanger.wiring.gkeTls" -}}
{{- if and (include "exchanger.wiring.gkeCallout" .) .Values.gkeAuthz.callout.tls.enabled -}}true{{- end -}}
{{- end -}}

{{/* The port that GKE's callout gives the TLS listener, if `ports` has its default; empty without such a callout. */}}
{{- define "exchanger.wiring.gkeTlsPort" -}}
{{- if and (include "exchanger.wiring.gkeTls" .) (eq (int (index .Values.ports "grpc-authz-tls").containerPort) 3000) -}}
{{- include "exchanger.text" .Values.gkeAuthz.callout.tls.port -}}
{{- end -}}
{{- end -}}

{{/* The Secret that GKE's callout has the service's TLS listener use; empty without such a callout. */}}
{{- define "exchanger.wiring.tlsSecretName" -}}
{{- if include "exchanger.wiring.gkeTls" . -}}{{- .Values.gkeAuthz.callout.tls.secretName -}}{{- end -}}
{{- end -}}

{{/* Labels that select gateways, of `authorizationPolicy` or `envoyFilter`. Helm merges maps, hence the separate override. */}}
{{- define "exchanger.wiring.selector" -}}
{{- toYaml (.workloadSelectorLabelsOverride | default .workloadSelectorLabels) -}}
{{- end -}}

{{/* The name of objects in the gateway's namespace, in which releases of other namespaces may have objects, too. */}}
{{- define "exchanger.wiring.name" -}}
{{- printf "%s-%s" (include "exchanger.clusterName" .) (ternary "ext-proc" "authz" (eq (include "exchanger.wiring.mode" .) "ext_proc")) -}}
{{- end -}}

{{/* The number of the Service's port for plaintext gRPC. */}}
{{- define "exchanger.wiring.grpcPort" -}}
{{- (index .Values.service.ports "grpc-api").port -}}
{{- end -}}

{{/* The plaintext port that the provider's host leads to. */}}
{{- define "exchanger.wiring.hostPort" -}}
{{- ternary (include "exchanger.grpcPort" .) (include "exchanger.wiring.grpcPort" .) .Values.service.headless -}}
{{- end -}}

{{/* The names in the certificate of GKE's callout (JSON of a list); the load balancer checks the first. */}}
{{- define "exchanger.wiring.gkeDnsNames" -}}
{{- $callout := .Values.gkeAuthz.callout -}}
{{- toJson ($callout.tls.certificate.dnsNames | default (list (include "exchanger.wiring.gkeHost" .))) -}}
{{- end -}}

{{- define "exchanger.wiring.gkeHost" -}}
{{- printf "%s.%s.svc.%s" .Values.gkeAuthz.callout.service.name .Release.Namespace .Values.clusterDomain -}}
{{- end -}}

{{/* A duration in protobuf's JSON format: seconds only. */}}
{{- define "exchanger.wiring.protobufDuration" -}}
{{- printf "%gs" (divf (include "exchanger.milliseconds" . | float64) 1000) -}}
{{- end -}}

{{/* A duration in the Gateway API's format (GEP-2257): whole numbers of at most five digits. */}}
{{- define "exchanger.wiring.gatewayDuration" -}}
{{- $whole := ceil (include "exchanger.milliseconds" . | float64) | int64 -}}
{{- if mod $whole 1000 -}}{{- printf "%dms" $whole -}}{{- else -}}{{- printf "%ds" (div $whole 1000) -}}{{- end -}}
{{- end -}}

{{/*
A regular expression for a header and the names that some servers take for it, which the service removes, too.
*/}}
{{- define "exchanger.wiring.spellings" -}}
{{- regexReplaceAll "[-_]" (regexQuoteMeta (lower .)) "[-_]" -}}
{{- end -}}

{{/*
What a callout may change: in a request the one header that an exchange replaces, and those that callers' tokens are read from; the rules of
ext_proc also apply to the headers of its own answers, which are three. A change that is not allowed is an error, since a request whose change
was dropped would continue with the caller's own token. https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/common/mutation_rules/v3/mutation_rules.proto
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
