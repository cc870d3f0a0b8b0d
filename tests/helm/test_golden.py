"""The charts render what is recorded in ``golden/``, which is valid in each Kubernetes they are for, hardened, and never open."""

import datetime as dt
import re
import shutil
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from exchanger.app.admission.webhook import PATH
from exchanger.authz.envoy.health import LIVENESS
from exchanger.net.tls.certificates import check_files
from exchanger.net.tls.settings import TlsSettings
from tests.helm.cases import CONSOLE_TOKEN, CONTAINER, FILTER, GKE, GKE_SELF_SIGNED, POD, PROFILE, SETTINGS, WIRINGS, look
from tests.helm.chart import CHART, NEWEST, Manifest, only, refusal, render, rendered_text, run_helm, secret_texts, validate
from tests.helm.golden import FOLDER, GOLDEN, Golden, identity, place
from tests.helm.many import prepare
from tests.helm.rendered_cluster import DEMO_CHART

pytestmark = [pytest.mark.helm]

# The oldest version that the chart takes, the newest that the schemas know, and one between.
VERSIONS: Final = ("1.29", "1.33", NEWEST)
# Values of the service's chart that together render every template.
WHOLE: Final[dict[str, Mapping[str, Any]]] = {
    **SETTINGS["service"],
    **WIRINGS,
    "monitoring": {name: {"enabled": True} for name in ("grafanaDashboard", "prometheusRule", "serviceMonitor")},
    "monitoring elsewhere": {
        name: {"enabled": True, "namespace": "monitoring", "labels": {"a": "b"}, "annotations": {"c": "d"}}
        for name in ("grafanaDashboard", "prometheusRule")
    },
}

# Of these, those that together have every name in a manifest.
NAMED: Final = (
    *("full", "headless", "console with a token", "monitoring elsewhere", "istio's provider with a host", "an alias as the host"),
    *("istio's filter", "istio's filter, ext_proc", "envoy gateway with tls", "envoy gateway, ext_proc", "gke"),
    "gke with a certificate of ours",
)

each_golden = pytest.mark.parametrize("golden", GOLDEN, ids=str)


@pytest.fixture(scope="module", autouse=True)
def at_once() -> None:
    """Render everything before it is looked at."""
    for chart in (CHART, DEMO_CHART):
        prepare((golden.values for golden in GOLDEN if golden.chart == chart), **place(chart))
    prepare([*WHOLE.values(), *(elsewhere(mode) for mode in SWITCHES)])
    prepare((oddly_named(name) for name in NAMED), namespace="7")


def wirings() -> list[Golden]:
    return [golden for golden in GOLDEN if golden.name.startswith("wiring, ")]


@each_golden
def test_each_rendering_is_the_recorded_one(golden: Golden) -> None:
    """If the change is meant, run ``python -m tests.helm.golden`` and read the difference."""
    assert golden.text() == golden.file.read_text()


def test_nothing_else_is_recorded() -> None:
    assert set(FOLDER.rglob("*.yaml")) == {golden.file for golden in GOLDEN}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid_for_kubernetes(version: str) -> None:
    manifests = {str(manifest): manifest for golden in GOLDEN for manifest in golden.manifests()}  # most are the same
    for manifest in manifests.values():
        validate(manifest, version)


def test_older_kubernetes_is_refused_and_newer_builds_are_accepted() -> None:
    said = refusal({}, kubernetes="1.28.9")
    assert "this chart needs Kubernetes 1.29 or newer, and this is v1.28.9: upgrade the cluster" in said
    for version in ("1.29.0", "1.29.0-rc.1", "1.29.4-gke.100", "1.33.5+k3s1"):
        assert render(kubernetes=version) == render()


few = pytest.mark.parametrize("golden", [golden for golden in GOLDEN if golden.name in {"defaults", "full", "bare", "everything"}], ids=str)


@few
def test_lint_has_no_objection(golden: Golden, tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(golden.values))
    done = run_helm("lint", "--strict", golden.chart, "--values", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


def test_every_template_is_rendered_and_writes_no_key_twice() -> None:
    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            assert len(keys) == len(set(keys)), f"{node.start_mark}: {keys}"
            return super().construct_mapping(node, deep)

    documents = {document for values in WHOLE.values() for document in rendered_text(values).split("\n---\n")}
    for document in documents:
        yaml.load(document, Strict)
    rendered = {name for document in documents for name in re.findall(r"^# Source: exchanger/(.+)$", document, re.MULTILINE)}
    templates = {path.relative_to(CHART).as_posix() for path in (CHART / "templates").rglob("*.yaml")}
    # These refuse, and render nothing.
    assert templates - rendered == {"templates/validate.yaml", "templates/validate-environment.yaml", "templates/wiring-validate.yaml"}


# -- hardened


def pods(manifests: list[Manifest]) -> Iterator[tuple[Manifest, dict[str, Any]]]:
    for manifest in manifests:
        if manifest["kind"] in {"Pod", "Deployment"}:
            yield manifest, look(manifest, POD) or manifest["spec"]


@each_golden
def test_every_pod_is_restricted_and_only_the_services_has_a_token(golden: Golden) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and a read-only root beyond it."""
    for manifest, pod in pods(golden.manifests()):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"].get("runAsUser", 1) > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        for container in pod["containers"]:
            writes = container["name"] == "keycloak"
            context = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": not writes, "capabilities": {"drop": ["ALL"]}}
            assert container["securityContext"] == context
        is_service = golden.chart == CHART and manifest["kind"] == "Deployment"
        assert pod["automountServiceAccountToken"] is is_service
        mounts = {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", ())}
        assert mounts == {volume["name"] for volume in pod.get("volumes", ())}


@pytest.mark.parametrize("golden", wirings(), ids=str)
def test_no_wiring_is_ever_open_and_each_says_whose_it_is(golden: Golden) -> None:
    manifests = [found for found in golden.manifests() if found not in render()]
    switches = [(name, value) for found in manifests for name, value in scalars(found) if name in {"failure_mode_allow", "failOpen"}]
    assert all(value is False for _, value in switches)
    asks = {"EnvoyFilter", "SecurityPolicy", "EnvoyExtensionPolicy", "GCPTrafficExtension"}
    assert len(switches) == len([found for found in manifests if found["kind"] in asks])
    for found in manifests:
        assert found["metadata"]["labels"]["app.kubernetes.io/instance"] == "exchanger"
        assert found["metadata"]["namespace"]


def scalars(part: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Return every scalar in ``part`` with the name of the field that it is in."""
    match part:
        case dict():
            for field, inner in part.items():
                yield from scalars(inner, field)
        case list():
            for inner in part:
                yield from scalars(inner, name)
        case _:
            yield name, part


SWITCHES: Final = (
    "istio's provider",
    "istio's filter",
    "istio's filter, ext_proc",
    "envoy gateway",
    "gke",
    "gke's authorization extension",
)


def elsewhere(mode: str) -> Mapping[str, Any]:
    return {**WIRINGS[mode], "gatewayProvider": "external"}


@pytest.mark.parametrize("mode", SWITCHES)
def test_beside_a_switch_another_providers_name_means_nothing(mode: str) -> None:
    """Files of the reference have to name one, such as ``none`` or ``external``, since no name means Istio there."""
    assert render(elsewhere(mode)) == render(WIRINGS[mode])


# -- names


def names(manifests: list[Manifest]) -> set[tuple[str, str, str]]:
    return {identity(manifest) for manifest in manifests}


def test_no_two_releases_share_anything() -> None:
    one, two, elsewhere = (names(render(release=release, namespace=at)) for release, at in (("one", "a"), ("two", "a"), ("one", "b")))
    assert not one & two
    assert not one & elsewhere

    def outside(namespace: str, release: str) -> set[tuple[str, str]]:
        found = names(render({**SETTINGS["service"]["full"], **FILTER}, namespace=namespace, release=release))
        return {(kind, name) for kind, at, name in found if at not in {"team", "team-a"}}

    assert outside("team", "a-exchanger")
    assert not outside("team", "a-exchanger") & outside("team-a", "exchanger")
    for values in (FILTER, WIRINGS["istio's filter, ext_proc"]):
        first, second = (only(render(values, namespace=namespace), "EnvoyFilter")["metadata"]["name"] for namespace in ("a", "b"))
        assert first != second


def oddly_named(name: str) -> Mapping[str, Any]:
    """Return values that together render ``name``, whose names YAML would take for something else."""
    odd = {"nameOverride": "on", "fullnameOverride": "1", "clusterDomain": "2", "priorityClassName": "3", "runtimeClassName": "4"}
    values = dict(WHOLE[name])
    values["rbac"] = {**{key: value for key, value in values.get("rbac", {}).items() if key == "create"}, "serviceAccountName": "5"}
    values.pop("serviceAccountName", None)
    return {"policyNamespaces": ["6"], **values, **odd}


@pytest.mark.parametrize("name", NAMED)
def test_names_that_yaml_would_take_for_something_else_stay_texts(name: str) -> None:
    for manifest in render(oddly_named(name), namespace="7"):
        texts = list(texts_of(manifest))
        assert all(isinstance(text, str) for text in texts), f"{manifest['kind']}: {texts}"
        validate(manifest)


def texts_of(node: Any) -> Iterator[Any]:
    """Return what is a text wherever a manifest has it: names, namespaces, labels and whom they select."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"name", "namespace", "serviceAccountName", "secretName", "hostname", "authority"} and not isinstance(value, dict):
                yield value
            elif key in {"labels", "matchLabels", "annotations"} and isinstance(value, dict):
                yield from value.values()
            elif key == "matchNames":
                yield from value
            else:
                yield from texts_of(value)
    elif isinstance(node, list):
        for element in node:
            yield from texts_of(element)


# -- rollouts


def test_service_selector_excludes_the_test_pod() -> None:
    manifests = render()
    selector = only(manifests, "Service")["spec"]["selector"]
    (hook,) = [manifest for manifest in manifests if manifest["kind"] == "Pod"]
    assert not selector.items() <= hook["metadata"]["labels"].items()
    assert selector.items() <= look(only(manifests, "Deployment"), "spec/template/metadata/labels").items()
    # ... but the network policy lets it in.
    peers = [peer for rule in only(manifests, "NetworkPolicy")["spec"]["ingress"] for peer in rule["from"] if "podSelector" in peer]
    assert any(peer["podSelector"]["matchLabels"].items() <= hook["metadata"]["labels"].items() for peer in peers)


def test_another_version_of_the_chart_alone_replaces_no_pod(tmp_path: Path) -> None:
    copy = tmp_path / "exchanger"
    shutil.copytree(CHART, copy)
    chart = yaml.safe_load((copy / "Chart.yaml").read_text())
    (copy / "Chart.yaml").write_text(yaml.safe_dump({**chart, "version": "9.9.9"}))
    before, after = (only(render(chart=where), "Deployment") for where in (CHART, copy))
    assert before["metadata"]["labels"] != after["metadata"]["labels"]
    assert before["spec"] == after["spec"]


def test_configuration_that_is_followed_live_replaces_no_pod() -> None:
    before, after = (only(render({"issuerProfiles": {"profiles": profiles}}), "Deployment") for profiles in ([], [PROFILE]))
    assert before == after
    assert not re.search("reloader|checksum|subPath", str(render(SETTINGS["service"]["full"])))


def test_liveness_probes_use_the_service_name_of_liveness() -> None:
    container = look(only(render(), "Deployment"), CONTAINER)
    assert container["livenessProbe"]["grpc"]["service"] == container["startupProbe"]["grpc"]["service"] == LIVENESS


def test_disabled_console_leaves_no_volume_behind() -> None:
    assert render({"console": {**CONSOLE_TOKEN["console"], "enabled": False}}) == render()


def test_another_cluster_role_is_bound_anew_since_a_binding_cannot_change() -> None:
    bindings = [only(render({"rbac": {"clusterRoleName": name}}), "ClusterRoleBinding") for name in ("", "a", "b")]
    assert len({binding["metadata"]["name"] for binding in bindings}) == 3
    assert [binding["roleRef"]["name"] for binding in bindings[1:]] == ["a", "b"]


@pytest.mark.parametrize("wiring", [{}, GKE], ids=["another gateway", "gke"])
def test_a_pace_of_ones_own_wins_over_that_of_googles_health_checks(wiring: Mapping[str, Any]) -> None:
    def pace(values: Mapping[str, Any]) -> tuple[int, str | None, int]:
        deployment = only(render(values), "Deployment")
        sleep = look(deployment, f"{CONTAINER}/lifecycle/preStop/exec/command/2")
        return deployment["spec"]["minReadySeconds"], sleep, look(deployment, f"{POD}/terminationGracePeriodSeconds")

    assert pace(wiring) == ((10, "30s", 30 + 25 + 10) if wiring else (5, "5s", 5 + 25 + 10))
    assert pace({**wiring, "minReadySeconds": 0, "shutdown": {"preStopSleep": "7s"}}) == (0, "7s", 7 + 25 + 10)
    assert pace({**wiring, "minReadySeconds": 3, "shutdown": {"preStopSleep": "0"}}) == (3, None, 25 + 10)
    assert pace({**wiring, "terminationGracePeriodSeconds": 99})[2] == 99
    assert pace({**wiring, "minReadySeconds": None, "shutdown": {"preStopSleep": None}}) == pace(wiring)


# -- GKE's certificate, which no recording has


def test_generated_certificate_has_the_names_and_validity_of_the_values() -> None:
    hosts = ["gateway-ext-authz.edge.svc.cluster.local", "b.example"]
    tls = {"selfSigned": {"enabled": True, "validityDays": 30}, "certificate": {"enabled": False, "dnsNames": hosts}}
    files = secret_texts(only(render({**GKE, "gkeAuthz": {"callout": {"tls": tls}}}), "Secret"))
    certificate, authority = (x509.load_pem_x509_certificate(files[name].encode()) for name in ("tls.crt", "ca.crt"))
    certificate.verify_directly_issued_by(authority)
    assert certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == hosts
    assert load_pem_private_key(files["tls.key"].encode(), None).public_key() == certificate.public_key()
    left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=29) < left < dt.timedelta(days=31)


def test_webhook_certificate_matches_its_service_name_and_ca_bundle(tmp_path: Path) -> None:
    manifests = render({"admission": {"enabled": True, "tls": {"validityDays": 30}}})
    files = secret_texts(only(manifests, "Secret"))
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert check_files(TlsSettings(cert_file=tmp_path / "tls.crt", key_file=tmp_path / "tls.key")) is None
    certificate, authority = (x509.load_pem_x509_certificate(files[name].encode()) for name in ("tls.crt", "ca.crt"))
    certificate.verify_directly_issued_by(authority)
    called = only(manifests, "ValidatingWebhookConfiguration")["webhooks"][0]["clientConfig"]
    assert b64decode(called["caBundle"]).decode() == files["ca.crt"]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    assert f"{called['service']['name']}.{called['service']['namespace']}.svc" in names
    assert only(manifests, "Service", called["service"]["name"])["spec"]["ports"][0]["port"] == called["service"]["port"]
    assert called["service"]["path"] == PATH
    left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=29) < left < dt.timedelta(days=31)


def test_a_rendering_without_a_cluster_makes_another_certificate_each_time() -> None:
    """Which is why upgrades look the Secret up; ``test_wiring_control_plane.py`` shows that they keep it."""
    first, second = (only(render(GKE_SELF_SIGNED, release=name), "Secret")["data"]["tls.crt"] for name in ("one", "two"))
    assert first != second
