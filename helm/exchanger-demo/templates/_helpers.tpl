{{/* What the demo's templates share: names, labels, and pods that fulfil the Pod Security Standard `restricted`. */}}

{{/* Labels that select the pods of a component: (list root component). */}}
{{- define "demo.selectorLabels" -}}
app.kubernetes.io/name: {{ (index . 0).Chart.Name }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of pods: nothing that changes with the chart alone. */}}
{{- define "demo.podLabels" -}}
{{- toYaml (mergeOverwrite (dict "app.kubernetes.io/part-of" "exchanger") ((index . 0).Values.commonLabels | default dict) (include "demo.selectorLabels" . | fromYaml)) -}}
{{- end -}}

{{/* Labels of an object that belongs to a component: (list root component). */}}
{{- define "demo.labels" -}}
{{- $root := index . 0 -}}
{{- $chart := dict
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_")
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/version" $root.Chart.AppVersion
-}}
{{- toYaml (merge (include "demo.podLabels" . | fromYaml) $chart) -}}
{{- end -}}

{{/* Metadata of an object in the release's namespace: (list root component name). */}}
{{- define "demo.metadata" -}}
name: {{ index . 2 | quote }}
namespace: {{ (index . 0).Release.Namespace | quote }}
labels:
  {{- include "demo.labels" . | nindent 2 }}
{{- end -}}

{{/* (list root image default-tag) */}}
{{- define "demo.image" -}}
{{- $image := index . 1 -}}
{{- with ((index . 0).Values.global | default dict).imageRegistry | default $image.registry -}}{{- trimSuffix "/" . -}}/{{- end -}}
{{- printf "%s:%s" $image.repository ($image.tag | default (index . 2)) -}}
{{- with $image.digest -}}@{{ . }}{{- end -}}
{{- end -}}

{{/* A Service in front of a component's pods: (list root component values). */}}
{{- define "demo.service" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "demo.metadata" (list (index . 0) (index . 1) (index . 2).name) | nindent 2 }}
spec:
  selector:
    {{- include "demo.selectorLabels" . | nindent 4 }}
  ports:
    - name: http
      port: {{ (index . 2).port }}
      targetPort: http
      protocol: TCP
      appProtocol: http
{{- end -}}

{{/* An HTTPRoute to a component's Service: (list root component name route hosts path-prefix values-of-the-Service). */}}
{{- define "demo.route" -}}
{{- $root := index . 0 -}}
{{- $route := index . 3 -}}
{{- $service := index . 6 -}}
{{- $namespace := $route.namespace | default $root.Release.Namespace -}}
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  {{- include "demo.routeMetadata" (list $root (index . 1) (index . 2) $route) | nindent 2 }}
spec:
  parentRefs:
    {{- toYaml $route.parentRefs | nindent 4 }}
  hostnames:
    {{- toYaml (index . 4) | nindent 4 }}
  rules:
    - matches:
        - path: {type: PathPrefix, value: {{ index . 5 | quote }}}
      backendRefs:
        - name: {{ $service.name | quote }}
          namespace: {{ $root.Release.Namespace | quote }}
          port: {{ $service.port }}
{{- if ne $namespace $root.Release.Namespace }}
---
# Without it, a route may not refer to a Service of another namespace (https://gateway-api.sigs.k8s.io/api-types/referencegrant/).
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata:
  {{- include "demo.metadata" (list $root (index . 1) (index . 2)) | nindent 2 }}
spec:
  from:
    - group: gateway.networking.k8s.io
      kind: HTTPRoute
      namespace: {{ $namespace | quote }}
  to:
    - group: ""
      kind: Service
      name: {{ $service.name | quote }}
{{- end }}
{{- end -}}

{{/* Metadata of an HTTPRoute: (list root component name route). */}}
{{- define "demo.routeMetadata" -}}
{{- $root := index . 0 -}}
{{- $route := index . 3 -}}
name: {{ index . 2 | quote }}
namespace: {{ $route.namespace | default $root.Release.Namespace | quote }}
labels:
  {{- include "demo.labels" . | nindent 2 }}
{{- with $route.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Hosts of the enabled teams (JSON). */}}
{{- define "demo.hosts" -}}
{{- $hosts := list -}}
{{- range list "yellow" "red" "blue" -}}
{{- $team := index $.Values.teams . -}}
{{- if $team.enabled -}}{{- $hosts = append $hosts $team.host -}}{{- end -}}
{{- end -}}
{{- toJson $hosts -}}
{{- end -}}

{{/* Keycloak's address in tokens. */}}
{{- define "demo.keycloakUrl" -}}
{{- .Values.keycloak.url | default (printf "http://%s.%s.svc.%s:%v" .Values.keycloak.name .Release.Namespace .Values.clusterDomain .Values.keycloak.port) -}}
{{- end -}}

{{/* An unsigned token for the fake token endpoint: (list subject expiry). https://www.rfc-editor.org/rfc/rfc7519#section-6 */}}
{{- define "demo.token" -}}
{{- $claims := dict "iss" "https://login.example.com" "sub" (index . 0) "exp" (index . 1) -}}
{{- range list (dict "alg" "none" "typ" "JWT") $claims -}}
{{- toJson . | b64enc | replace "+" "-" | replace "/" "_" | trimAll "=" -}}.
{{- end -}}
{{- end -}}
