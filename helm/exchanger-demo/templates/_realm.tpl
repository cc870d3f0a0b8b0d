{{/*
A realm in which the service may exchange the user's token: the token is for the service's client (an audience mapper at the app's), and
that client may exchange (`standard.token.exchange.enabled`) what it gets for the upstream's audience, which its own mapper makes available.
Client scopes are not named, since naming any would drop Keycloak's own.
https://www.keycloak.org/securing-apps/token-exchange
*/}}
{{- define "demo.keycloakRealm" -}}
{{- $keycloak := .Values.keycloak -}}
{{- $clients := $keycloak.clients -}}
{{- $user := dict
  "username" $keycloak.user.username
  "enabled" true
  "email" (printf "%s@example.com" $keycloak.user.username)
  "emailVerified" true
  "firstName" "Demo"
  "lastName" "User"
  "credentials" (list (dict "type" "password" "value" $keycloak.user.password "temporary" false))
-}}
{{- $app := dict
  "clientId" $clients.app.id
  "publicClient" true
  "standardFlowEnabled" false
  "directAccessGrantsEnabled" true
  "protocolMappers" (list (include "demo.keycloakAudience" $clients.exchanger.id | fromJson))
-}}
{{- $exchanger := dict
  "clientId" $clients.exchanger.id
  "publicClient" false
  "secret" $clients.exchanger.secret
  "standardFlowEnabled" false
  "directAccessGrantsEnabled" false
  "attributes" (dict "standard.token.exchange.enabled" "true")
  "protocolMappers" (list (include "demo.keycloakAudience" $clients.audience.id | fromJson))
-}}
{{- $targets := list -}}
{{- range list $clients.audience.id $clients.otherAudience.id -}}
{{- $targets = append $targets (dict "clientId" . "publicClient" true "standardFlowEnabled" false) -}}
{{- end -}}
{{- $realm := dict
  "realm" $keycloak.realm
  "enabled" true
  "sslRequired" "none"
  "accessTokenLifespan" 300
  "users" (list $user)
  "clients" (concat (list $app $exchanger) $targets)
-}}
{{- toPrettyJson $realm -}}
{{- end -}}

{{/* A mapper that writes a client into the audience of tokens (JSON). */}}
{{- define "demo.keycloakAudience" -}}
{{- toJson (dict
  "name" (printf "audience-%s" .)
  "protocol" "openid-connect"
  "protocolMapper" "oidc-audience-mapper"
  "config" (dict "included.client.audience" . "access.token.claim" "true" "introspection.token.claim" "true" "id.token.claim" "false")
) -}}
{{- end -}}
