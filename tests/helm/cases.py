"""What each value of the charts has to change (``cases.yaml``), and the values that tests render (``settings.yaml``)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import yaml

from exchanger import __version__
from tests.helm.chart import Manifest, of_kind

PROFILE: Final = {"name": "primary", "tokenEndpoint": "https://issuer.example.com/token"}
POD: Final = "spec/template/spec"
CONTAINER: Final = f"{POD}/containers/exchanger"

TLS: Final = {"tls": {"secretName": "edge-tls"}}
TLS_ONLY: Final = {"tls": {"secretName": "edge-tls", "only": True}}
MTLS: Final = {"tls": {"secretName": "edge-tls", "clientCA": {"secretName": "gateways"}}}
SCALED: Final = {"autoscaling": {"enabled": True}}
CONSOLE: Final = {"console": {"enabled": True}}
CONSOLE_TOKEN: Final = {"console": {"enabled": True, "token": {"secretName": "console"}}}
OTLP: Final = {"otel": {"tracesExporter": "otlp", "endpoint": "http://collector.telemetry.svc:4318"}}
OWN_SECRET: Final = {"oauth": {"createSecret": True, "clientID": "id", "clientSecret": "secret"}}
PEERS: Final = [{"namespaceSelector": {"matchLabels": {"team": "edge"}}}]
PROFILES: Final = {"issuerProfiles": {"profiles": [PROFILE]}}

SETTINGS: Final[dict[str, dict[str, dict[str, Any]]]] = yaml.safe_load(Path(__file__).with_name("settings.yaml").read_text())
WIRINGS: Final = SETTINGS["wiring"]
REFERENCE: Final = SETTINGS["service"]["reference"]
AUTHORIZATION_POLICY: Final = WIRINGS["istio's provider"]
SERVICE_ENTRY: Final = WIRINGS["istio's provider with a host"]
FILTER: Final = WIRINGS["istio's filter"]
SECURITY_POLICY: Final = WIRINGS["envoy gateway"]
BACKEND_TLS: Final = WIRINGS["envoy gateway with tls"]
GKE: Final = WIRINGS["gke"]
GKE_SELF_SIGNED: Final = WIRINGS["gke with a certificate of ours"]


@attrs.frozen
class Case:
    """``value`` at ``path``, beside ``given``, makes ``expected`` of what ``look`` finds at ``at`` in the manifest ``kind``."""

    path: str
    value: Any
    kind: str
    at: str
    expected: Any
    given: Mapping[str, Any] = attrs.field(factory=dict)


SHORT: Final = {
    "pod": POD,
    "container": CONTAINER,
    "webhook": f"{POD}/containers/admission",
    "token": f"{POD}/containers/fake-token-endpoint",
    "java": f"{POD}/containers/keycloak",
    "patch": "spec/configPatches/0/patch/value/typed_config",
    "extension": "spec/extensionChains/0/extensions/0",
    "version": __version__,
}


def _filled(value: Any) -> Any:
    if isinstance(value, str):
        for name, text in SHORT.items():
            value = value.replace(f"{{{name}}}", text)
    return value


# Those of the service's chart, of its sections that wire gateways, and of the demo's chart.
CASES: Final[Mapping[str, tuple[Case, ...]]] = {
    part: tuple(Case(**{name: _filled(value) for name, value in row.items()}) for row in rows)
    for part, rows in yaml.load(Path(__file__).with_name("cases.yaml").read_text(), yaml.CSafeLoader).items()
}


def look(manifest: Manifest | None, at: str) -> Any:
    """Return what is at a path such as ``spec/ports/grpc-api/port``; ``None`` when nothing is.

    Steps into lists are indexes, or names of elements; ``~1`` stands for a slash, as in RFC 6901.
    """
    found: Any = manifest
    for step in at.split("/") if at else ():
        match found:
            case dict():
                found = found.get(step.replace("~1", "/"))
            case list() if step.isdecimal():
                found = found[int(step)] if int(step) < len(found) else None
            case list():
                found = next((element for element in found if element.get("name") == step), None)
            case _:
                return None
    return found


def manifest_of(manifests: list[Manifest], kind: str) -> Manifest | None:
    """Return the manifest that a case speaks of: ``Kind`` or ``Kind:part of its name``; ``Hook`` is the test's pod."""
    wanted, _, part = kind.partition(":")
    if wanted == "Hook":
        found = [manifest for manifest in manifests if manifest["kind"] == "Pod"]
    else:
        found = [manifest for manifest in of_kind(manifests, wanted) if part in manifest["metadata"]["name"]]
    return found[0] if found else None


def with_value(given: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return ``given`` with ``value`` at the dotted ``path``."""
    head, _, rest = path.partition(".")
    inner = with_value(given.get(head) or {}, rest, value) if rest else value
    return {**given, head: inner}
