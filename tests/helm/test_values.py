"""Every value of the charts changes what it should, and nothing is in a ``values.yaml`` that no test knows."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.helm.cases import CASES, CONTAINER, OWN_SECRET, PROFILE, PROFILES, TLS_ONLY, Case, look, manifest_of
from tests.helm.chart import CHART, only, render, secret_texts
from tests.helm.many import prepare
from tests.helm.rendered_cluster import DEMO_CHART
from tests.helm.rendered_demo import demo, opened, placed

pytestmark = [pytest.mark.helm]

OWN_PROFILE = {"issuerProfiles": {"profiles": [{**PROFILE, "clientID": "id", "clientSecret": "hush"}]}}
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
# Sections with tests of their own (``tests/monitoring``).
MONITORING: Final = {"grafanaDashboard", "prometheusRule"}
# Values that may have one value only (``refusals.yaml``), and those that are in certificates (``test_golden.py``).
REFUSED_OTHERWISE: Final = {
    "admission.tls.validityDays",
    "envoyFilter.extProc.failureModeAllow",
    "gatewayExtAuthzService.type",
    "gkeAuthz.callout.healthCheck.port",
    "gkeAuthz.callout.tls.selfSigned.validityDays",
    "gkeExtProc.failOpen",
}


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Return the dotted paths of everything that is not a mapping with something in it; labels that select workloads are one value."""
    for name, value in values.items():
        if isinstance(value, dict) and value and name != "workloadSelectorLabels":
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def defaults(chart: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((chart / "values.yaml").read_text())
    return found


def found(part: str, values: Mapping[str, Any], case: Case) -> Any:
    manifests = demo(values) if part == "demo" else render(values)
    manifest = manifest_of(manifests, case.kind)
    return look(opened(manifest) if part == "demo" else manifest, case.at)


def test_no_value_is_without_a_case_and_no_case_without_its_value() -> None:
    service = {name: value for name, value in defaults(CHART).items() if name not in MONITORING}
    assert {case.path for part in ("service", "wiring") for case in CASES[part]} | REFUSED_OTHERWISE == set(leaves(service))
    assert {case.path for case in CASES["demo"]} == set(leaves(defaults(DEMO_CHART)))


@pytest.fixture(scope="module")
def at_once() -> None:
    """Render everything before it is looked at."""
    for chart, release, parts in ((CHART, "exchanger", ("service", "wiring")), (DEMO_CHART, "demo", ("demo",))):
        cases = [case for part in parts for case in CASES[part]]
        many = (values for case in cases for values in (case.given, placed(case.given, case.path, case.value)))
        prepare(many, chart=chart, release=release, namespace="edge" if chart == CHART else "demo")


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(("part", "case"), [pytest.param(part, case, id=case.path) for part, cases in CASES.items() for case in cases])
def test_a_value_changes_what_it_should(part: str, case: Case) -> None:
    assert found(part, case.given, case) != case.expected
    assert found(part, placed(case.given, case.path, case.value), case) == case.expected


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("edge.v2", {}, "edge-v2-exchanger"),
        ("edge", {"nameOverride": "authz.v2"}, "edge-authz-v2"),
        ("edge", {"fullnameOverride": "authz.v2"}, "authz-v2"),
        ("a" * 53, {}, f"{'a' * 53}-exchanger"),
        ("exchanger.v2", {}, "exchanger-v2"),
    ],
)
def test_names_are_those_that_a_service_can_have(release: str, values: dict[str, Any], name: str) -> None:
    """Helm takes dots in a release's name; a Service's name is one part of a host name and has none (RFC 1035 section 2.3.1)."""
    manifests = render({**values, "envoyGateway": {"enabled": True, "targetRefs": [{"name": "gateway"}]}}, release=release)
    assert only(manifests, "Service")["metadata"]["name"] == only(manifests, "Deployment")["metadata"]["name"] == name
    assert look(only(manifests, "SecurityPolicy"), "spec/extAuth/grpc/backendRefs/0/name") == name
    assert only(manifests, "Deployment")["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == release


def test_empty_mappings_of_a_profile_reach_the_service() -> None:
    """They mean the defaults, and the service checks what is missing in them."""
    empty: dict[str, object] = {"issuedToken": {}, "subjectToken": {}, "limits": {}, "parameters": {}}
    values = {"issuerProfiles": {"profiles": [{**PROFILE, **empty, "proxy": "", "bearerRealm": None, "clientID": "id"}]}}
    (text,) = only(render(values), "ConfigMap", "exchanger-issuer-profiles")["data"].values()
    (profile,) = yaml.safe_load(text)["issuers"]
    assert {name: profile[name] for name in empty} == empty
    assert profile.keys().isdisjoint({"proxy", "bearerRealm"})


@pytest.mark.parametrize("name", ["1e3", "null", "0x1f", "true"])
def test_key_that_yaml_would_convert_stays_a_string(name: str) -> None:
    path = f"/etc/ext-authz-token-exchange/{name}"
    said = ("--set-string", f"issuerProfiles.fileName={name},oauth.existingSecret.clientIDKey={name},tests.ca.key={name}")
    for values, kind in (({**PROFILES, **OWN_SECRET, **TLS_ONLY}, "ConfigMap"), (OWN_PROFILE, "Secret")):
        manifests = render(values, arguments=said)
        assert list(only(manifests, kind, "exchanger-issuer-profiles")["data"]) == [name]
        assert look(only(manifests, "Deployment"), f"{CONTAINER}/env/TOKEN_EXCHANGE_ISSUER_PROFILES_FILE/value") == path
        if kind == "ConfigMap":
            assert set(secret_texts(only(manifests, "Secret"))) == {name, "client_secret"}
            assert look(manifest_of(manifests, "Hook"), "spec/volumes/ca/secret/items/0/key") == name


@pytest.mark.parametrize(
    ("release", "override"),
    [
        *(("exchanger", override) for override in (f"{'a' * 62}.b", f"{'a' * 60}-.-b", f"{'a' * 57}.{'a' * 9}", f"{'a' * 53}.{'a' * 9}")),
        ("r" * 53, "n" * 63),
    ],
)
def test_names_that_are_cut_end_as_names_and_labels_have_to(release: str, override: str) -> None:
    values = {"nameOverride": override, "service": {"headless": True}, "serviceMonitor": {"enabled": True}}
    for manifest in render(values, release=release):
        if manifest["kind"] in {"Service", "Deployment", "Pod"}:
            assert LABEL.fullmatch(manifest["metadata"]["name"])
        for label in (*manifest["metadata"]["labels"].values(), *(look(manifest, "spec/template/metadata/labels") or {}).values()):
            assert LABEL.fullmatch(label), (manifest["kind"], label)
