"""The demo's chart as tests render it, and what each of its values has to change."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import yaml

from exchanger import __version__
from tests.helm.cases import Case, look, manifest_of, with_value
from tests.helm.chart import Manifest, of_kind, render, secret_texts
from tests.helm.rendered_cluster import DEMO_CHART

TEAMS: Final = ("yellow", "red", "blue")
ROUTE: Final = {"route": {"enabled": True}}
KEYCLOAK: Final = {"keycloak": {"enabled": True}}
ADMIN: Final = {"keycloak": {"enabled": True, "admin": {"password": "p"}}}
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "defaults": {},
    "everything": {**ADMIN, **ROUTE, "imagePullSecrets": [{"name": "registry"}], "commonLabels": {"team": "edge"}},
    "nothing": {
        "namespaces": {"create": False},
        "teams": {team: {"enabled": False} for team in TEAMS},
        "fakeTokenEndpoint": {"enabled": False},
        "echo": {"enabled": False},
    },
    "closed": {**KEYCLOAK, "networkPolicy": {"tokenEndpointPeers": [], "upstreamPeers": []}},
}
PEERS: Final = [{"podSelector": {"matchLabels": {"a": "b"}}}]
TOKEN_POD: Final = "spec/template/spec"
TOKEN: Final = f"{TOKEN_POD}/containers/fake-token-endpoint"
JAVA: Final = f"{TOKEN_POD}/containers/keycloak"
REALM: Final = "data/exchanger-demo-realm.json"


def securities(prefix: str, kind: str, container: str, given: Mapping[str, Any], others: tuple[Case, ...]) -> tuple[Case, ...]:
    """Return the cases of a pod's security contexts."""
    pod = f"{TOKEN_POD}/securityContext"
    return (
        Case(f"{prefix}podSecurityContext.runAsNonRoot", None, kind, f"{pod}/runAsNonRoot", None, given),
        Case(f"{prefix}podSecurityContext.runAsUser", 7, kind, f"{pod}/runAsUser", 7, given),
        Case(f"{prefix}podSecurityContext.fsGroup", 7, kind, f"{pod}/fsGroup", 7, given),
        Case(f"{prefix}podSecurityContext.seccompProfile.type", "Localhost", kind, f"{pod}/seccompProfile/type", "Localhost", given),
        Case(
            f"{prefix}securityContext.allowPrivilegeEscalation",
            None,
            kind,
            f"{container}/securityContext/allowPrivilegeEscalation",
            None,
            given,
        ),
        Case(
            f"{prefix}securityContext.capabilities.drop",
            ["ALL", "KILL"],
            kind,
            f"{container}/securityContext/capabilities/drop",
            ["ALL", "KILL"],
            given,
        ),
        *others,
    )


def team(name: str) -> tuple[Case, ...]:
    other = {"teams": {name: {"namespace": f"team-{name}"}}}
    return (
        Case(f"teams.{name}.enabled", False, f"Namespace:{name}", "", None),
        Case(f"teams.{name}.namespace", "squad", "Namespace:squad", "metadata/name", "squad"),
        Case(f"teams.{name}.host", "api.example", "HTTPRoute", f"spec/hostnames/{TEAMS.index(name)}", "api.example", {**ROUTE, **other}),
    )


def memory(prefix: str, kind: str, container: str, given: Mapping[str, Any]) -> tuple[Case, ...]:
    return (
        Case(f"{prefix}resources.requests.cpu", "2", kind, f"{container}/resources/requests/cpu", "2", given),
        Case(f"{prefix}resources.requests.memory", "1Gi", kind, f"{container}/resources/requests/memory", "1Gi", given),
        Case(f"{prefix}resources.limits.memory", "2Gi", kind, f"{container}/resources/limits/memory", "2Gi", given),
    )


def image(prefix: str, kind: str, container: str, name: str, tag: str, given: Mapping[str, Any]) -> tuple[Case, ...]:
    digest = f"sha256:{'a' * 64}"
    return (
        Case(f"{prefix}image.repository", "r.example/x", kind, f"{container}/image", f"r.example/x:{tag}", given),
        Case(f"{prefix}image.registry", "m.example:5", kind, f"{container}/image", f"m.example:5/{name}:{tag}", given),
        Case("global.imageRegistry", "m.example:5", kind, f"{container}/image", f"m.example:5/{name}:{tag}", given),
        Case(f"{prefix}image.tag", "edge", kind, f"{container}/image", f"{name}:edge", given),
        Case(f"{prefix}image.digest", digest, kind, f"{container}/image", f"{name}:{tag}@{digest}", given),
        Case(f"{prefix}image.pullPolicy", "Always", kind, f"{container}/imagePullPolicy", "Always", given),
    )


LABEL: Final = "metadata/labels"
CASES: Final = (
    Case("commonLabels", {"team": "edge"}, "Deployment:fake", f"spec/template/{LABEL}/team", "edge"),
    Case(
        "clusterDomain",
        "corp.example",
        "Deployment:keycloak",
        f"{JAVA}/env/KC_HOSTNAME/value",
        "http://keycloak.demo.svc.corp.example:8080",
        KEYCLOAK,
    ),
    *image("", "Deployment:fake", TOKEN, "exchanger", __version__, {}),
    Case("imagePullSecrets", [{"name": "registry"}], "Deployment:echo", f"{TOKEN_POD}/imagePullSecrets/0/name", "registry"),
    Case("namespaces.create", False, "Namespace", "", None),
    Case(
        "namespaces.labels.ext-authz-token-exchange.magneticflux.net/policy",
        "no",
        "Namespace",
        f"{LABEL}/ext-authz-token-exchange.magneticflux.net~1policy",
        "no",
    ),
    Case(
        "namespaces.labels.pod-security.kubernetes.io/enforce",
        "baseline",
        "Namespace",
        f"{LABEL}/pod-security.kubernetes.io~1enforce",
        "baseline",
    ),
    Case(
        "policy.labels.ext-authz-token-exchange.magneticflux.net/enabled",
        "no",
        "ConfigMap:token-policy",
        f"{LABEL}/ext-authz-token-exchange.magneticflux.net~1enabled",
        "no",
    ),
    *(case for name in TEAMS for case in team(name)),
    Case("fakeTokenEndpoint.enabled", False, "Deployment:fake", "", None),
    Case("fakeTokenEndpoint.name", "issuer", "Service:issuer", "metadata/name", "issuer"),
    Case("fakeTokenEndpoint.port", 80, "Service:fake", "spec/ports/http/port", 80),
    Case("fakeTokenEndpoint.secretName", "mine", "Secret:mine", "metadata/name", "mine"),
    Case("echo.enabled", False, "Service:echo", "", None),
    Case("echo.name", "upstream", "HTTPRoute", "spec/rules/0/backendRefs/0/name", "upstream", ROUTE),
    Case("echo.port", 80, "HTTPRoute", "spec/rules/0/backendRefs/0/port", 80, ROUTE),
    *memory("", "Deployment:echo", f"{TOKEN_POD}/containers/echo", {}),
    *securities(
        "",
        "Deployment:fake",
        TOKEN,
        {},
        (
            Case("podSecurityContext.runAsGroup", 7, "Deployment:echo", f"{TOKEN_POD}/securityContext/runAsGroup", 7),
            Case(
                "securityContext.readOnlyRootFilesystem", False, "Deployment:fake", f"{TOKEN}/securityContext/readOnlyRootFilesystem", False
            ),
        ),
    ),
    Case("route.enabled", True, "HTTPRoute", "kind", "HTTPRoute"),
    Case("route.namespace", "gateways", "ReferenceGrant", "spec/from/0/namespace", "gateways", ROUTE),
    Case("route.parentRefs", [{"name": "edge", "port": 80}], "HTTPRoute", "spec/parentRefs", [{"name": "edge", "port": 80}], ROUTE),
    Case("route.hostnames", ["*.example"], "HTTPRoute", "spec/hostnames", ["*.example"], ROUTE),
    Case("route.pathPrefix", "/demo", "HTTPRoute", "spec/rules/0/matches/0/path/value", "/demo", ROUTE),
    Case("route.annotations", {"a": "b"}, "HTTPRoute", "metadata/annotations/a", "b", ROUTE),
    Case("keycloak.enabled", True, "Deployment:keycloak", "kind", "Deployment"),
    Case("keycloak.name", "idp", "Service:idp", "metadata/name", "idp", KEYCLOAK),
    *image("keycloak.", "Deployment:keycloak", JAVA, "quay.io/keycloak/keycloak", "26.7.3", KEYCLOAK),
    Case("keycloak.port", 80, "Service:keycloak", "spec/ports/http/port", 80, KEYCLOAK),
    Case("keycloak.url", "https://idp.example", "Deployment:keycloak", f"{JAVA}/env/KC_HOSTNAME/value", "https://idp.example", KEYCLOAK),
    Case("keycloak.realm", "other", "Secret:realm", "data/other-realm.json/realm", "other", KEYCLOAK),
    Case("keycloak.admin.username", "root", "Secret:admin", "stringData/username", "root", ADMIN),
    Case(
        "keycloak.admin.password",
        "p",
        "Deployment:keycloak",
        f"{JAVA}/env/KC_BOOTSTRAP_ADMIN_PASSWORD/valueFrom/secretKeyRef/name",
        "keycloak-admin",
        KEYCLOAK,
    ),
    Case("keycloak.user.username", "bob", "Secret:realm", f"{REALM}/users/0/username", "bob", KEYCLOAK),
    Case("keycloak.user.password", "p", "Secret:realm", f"{REALM}/users/0/credentials/0/value", "p", KEYCLOAK),
    Case("keycloak.clients.app.id", "web", "Secret:realm", f"{REALM}/clients/0/clientId", "web", KEYCLOAK),
    Case("keycloak.clients.exchanger.id", "svc", "Secret:exchanger-demo-keycloak", "stringData/client_id", "svc", KEYCLOAK),
    Case("keycloak.clients.exchanger.secret", "s", "Secret:exchanger-demo-keycloak", "stringData/client_secret", "s", KEYCLOAK),
    Case(
        "keycloak.clients.audience.id",
        "api",
        "ConfigMap:keycloak-policy",
        "data/config.yaml/entries/0/exchange/audiences",
        ["api"],
        KEYCLOAK,
    ),
    Case(
        "keycloak.clients.otherAudience.id",
        "api",
        "ConfigMap:keycloak-policy",
        "data/config.yaml/entries/1/exchange/audiences",
        ["api"],
        KEYCLOAK,
    ),
    Case("keycloak.secretName", "mine", "Secret:mine", "metadata/name", "mine", KEYCLOAK),
    *memory("keycloak.", "Deployment:keycloak", JAVA, KEYCLOAK),
    *securities(
        "keycloak.",
        "Deployment:keycloak",
        JAVA,
        KEYCLOAK,
        (
            Case(
                "keycloak.securityContext.readOnlyRootFilesystem",
                True,
                "Deployment:keycloak",
                f"{JAVA}/securityContext/readOnlyRootFilesystem",
                True,
                KEYCLOAK,
            ),
        ),
    ),
    Case("networkPolicy.enabled", False, "NetworkPolicy", "", None),
    Case("networkPolicy.tokenEndpointPeers", PEERS, "NetworkPolicy:keycloak", "spec/ingress/0/from", PEERS, KEYCLOAK),
    Case("networkPolicy.upstreamPeers", PEERS, "NetworkPolicy:echo", "spec/ingress/0/from", PEERS),
)


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def demo(values: Mapping[str, Any] | None = None, namespace: str = "demo", **options: Any) -> list[Manifest]:
    return _rendered(json.dumps(values or {}), namespace, json.dumps(options))


@cache
def _rendered(values: str, namespace: str, options: str) -> list[Manifest]:
    return render(json.loads(values), chart=DEMO_CHART, release="demo", namespace=namespace, **json.loads(options))


def opened(manifest: Manifest | None) -> Manifest | None:
    """Return a manifest with the documents in its data as what they are."""
    if manifest is None:
        return None
    data = {"data": secret_texts({"data": manifest.get("data")})} if manifest["kind"] == "Secret" else {}
    manifest = {**manifest, **data}
    return {**manifest, **{key: _documents(manifest[key]) for key in ("data", "stringData") if key in manifest}}


def _documents(data: Mapping[str, str]) -> dict[str, Any]:
    return {name: yaml.safe_load(text) if name.endswith((".yaml", ".json")) else text for name, text in data.items()}


def placed(values: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return ``values`` with ``value`` at ``path``, whose last part may have dots of its own where it is a label."""
    section, labels, name = path.partition("labels.")
    return with_value(values, f"{section}labels", {name: value}) if labels else with_value(values, path, value)


def found(values: Mapping[str, Any], case: Case) -> Any:
    return look(opened(manifest_of(demo(values), case.kind)), case.at)


def pods(manifests: list[Manifest]) -> dict[str, Any]:
    return {found["metadata"]["name"]: found["spec"]["template"]["spec"] for found in of_kind(manifests, "Deployment")}
