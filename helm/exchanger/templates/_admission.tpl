{{/* Names and labels of the admission webhook, which keep its pods out of other Services' and Deployments' selectors. */}}
{{- define "exchanger.admission.name" -}}
{{- printf "%s-admission" (include "exchanger.cut" (list (include "exchanger.fullname" .) 53)) -}}
{{- end -}}

{{- define "exchanger.admission.selectorLabels" -}}
app.kubernetes.io/name: {{ printf "%s-admission" (include "exchanger.cut" (list (include "exchanger.name" .) 53)) }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The metadata of an object of the release's namespace: include "exchanger.admission.metadata" (list . "its name"). */}}
{{- define "exchanger.admission.metadata" -}}
name: {{ index . 1 | quote }}
namespace: {{ (index . 0).Release.Namespace | quote }}
labels:
  {{- include "exchanger.admission.labels" (index . 0) | nindent 2 }}
{{- end -}}

{{- define "exchanger.admission.labels" -}}
{{- toYaml (mergeOverwrite (include "exchanger.commonLabels" . | fromYaml) (include "exchanger.admission.selectorLabels" . | fromYaml)) -}}
{{- end -}}

{{- define "exchanger.admission.serviceAccountName" -}}
{{- .Values.admission.serviceAccountName | default (ternary (include "exchanger.admission.name" .) "default" .Values.rbac.create) -}}
{{- end -}}

{{- define "exchanger.admission.secretName" -}}
{{- .Values.admission.tls.secretName | default (printf "%s-tls" (include "exchanger.admission.name" .)) -}}
{{- end -}}

{{/* The names in its certificate (JSON of a list); the first is the one by which API servers call it. */}}
{{- define "exchanger.admission.dnsNames" -}}
{{- $host := printf "%s.%s.svc" (include "exchanger.admission.name" .) .Release.Namespace -}}
{{- toJson (list $host (printf "%s.%s" $host .Values.clusterDomain)) -}}
{{- end -}}

{{/* "true" if it can be given the profiles: not if they are a Secret, since it needs only the names. */}}
{{- define "exchanger.admission.knowsIssuers" -}}
{{- if not (include "exchanger.profilesAreSecret" .) -}}true{{- end -}}
{{- end -}}

{{/*
The variables that it shares with the service, with the same values (JSON of a list): selectors, grants and names, so that both check a policy
alike. Credentials are not among them.
*/}}
{{- define "exchanger.admission.environment" -}}
{{- $names := list "CONFIGMAP_LABEL_SELECTOR" "CONFIGMAP_NAMESPACE_SELECTOR" "LOG_FORMAT" "LOG_LEVEL" "POLICY_GRANTS_FILE" "POLICY_GRANTS_MODE"
  "POLICY_MAX_FAIL_CLOSED_SCOPES" "POLICY_MAX_DOCUMENTS" "POLICY_MAX_ENTRIES" "POLICY_MAX_SIZE_KIB"
  "POLICY_NAMESPACES_FILE" "SHUTDOWN_GRACE_PERIOD" "TOKEN_ENDPOINT_AUTH_METHOD" "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT" -}}
{{- if include "exchanger.admission.knowsIssuers" . -}}{{- $names = append $names "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE" -}}{{- end -}}
{{- $user := dict -}}
{{- range (include "exchanger.userEnvironment" . | fromJsonArray) -}}{{- $_ := set $user .name . -}}{{- end -}}
{{- $values := include "exchanger.valuesEnvironment" . | fromJson -}}
{{- $list := list -}}
{{- range $name := $names -}}
{{- if hasKey $user $name -}}
{{- $list = append $list (get $user $name) -}}
{{- else if get $values $name -}}
{{- $list = append $list (dict "name" $name "value" (get $values $name)) -}}
{{- end -}}
{{- end -}}
{{- toJson $list -}}
{{- end -}}

{{/*
A label selector as a LabelSelector (JSON): include "exchanger.admission.labelSelector" (list . "CONFIGMAP_LABEL_SELECTOR"). What it cannot
express (< and >, a text that only the pod knows) is left out: the API server then asks about more objects, and the webhook, which has the
whole selector, lets them through.
*/}}
{{- define "exchanger.admission.labelSelector" -}}
{{- $text := include "exchanger.variable" . -}}
{{- $name := index . 1 -}}
{{- range (include "exchanger.userEnvironment" (index . 0) | fromJsonArray) -}}
{{- if and (eq .name $name) .valueFrom -}}{{- $text = "" -}}{{- end -}}
{{- end -}}
{{- $expressions := list -}}
{{- if not (contains "$(" $text) -}}
{{- range regexFindAll "[^,(]+([(][^)]*[)])?" $text -1 -}}
{{- $one := trim . -}}
{{- $key := regexFind "^[^\\s!=<>(]+" (trim (trimPrefix "!" $one)) -}}
{{- if not $key -}}
{{- else if hasPrefix "!" $one -}}
{{- $expressions = append $expressions (dict "key" $key "operator" "DoesNotExist") -}}
{{- else if regexMatch "[<>]" $one -}}
{{- else if contains "(" $one -}}
{{- $values := list -}}
{{- range splitList "," (regexFind "[(][^)]*" $one | trimPrefix "(") -}}{{- $values = append $values (trim .) -}}{{- end -}}
{{- $operator := ternary "NotIn" "In" (regexMatch "\\snotin\\s*[(]" $one) -}}
{{- $expressions = append $expressions (dict "key" $key "operator" $operator "values" ($values | uniq | sortAlpha)) -}}
{{- else if contains "=" $one -}}
{{- $value := regexReplaceAll "^[^=]*==?" $one "" | trim -}}
{{- $expressions = append $expressions (dict "key" $key "operator" (ternary "NotIn" "In" (contains "!=" $one)) "values" (list $value)) -}}
{{- else -}}
{{- $expressions = append $expressions (dict "key" $key "operator" "Exists") -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $expressions -}}{{- toJson (dict "matchExpressions" $expressions) -}}{{- else -}}{}{{- end -}}
{{- end -}}
