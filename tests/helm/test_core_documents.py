"""The chart's README and NOTES.txt say what is so."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from exchanger import __version__
from tests.helm.cases import CONSOLE, MTLS, PEERS, PROFILE, TLS, look
from tests.helm.chart import CHART, ROOT, only, render, run_helm

WRITER = ROOT / ".ci" / "helm_docs.py"


def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("helm_docs", WRITER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_values_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, WRITER, "--check"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_every_value_without_a_comment_is_found() -> None:
    helm_docs = writer()
    assert helm_docs.table("# A.\na: 1\nb:\n  # C.\n  c: {}\n# D.\nd:\n  e: 1\n").splitlines()[2:] == [
        "| `a` | `1` | A. |",
        "| `b.c` | `{}` | C. |",
        '| `d` | `{"e": 1}` | D. |',
    ]
    with pytest.raises(helm_docs.UndocumentedError, match="no comment above b, c"):
        helm_docs.table("# A.\na: 1\nb: 2\nc: 3\n")


def test_the_charts_versions_are_the_services() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__
    assert chart["version"] == __version__


def test_the_schema_has_no_free_form_holes() -> None:
    """Every object names its properties, or is of a kind that Kubernetes defines and checks, or maps names to one kind of value."""
    schema = json.loads((CHART / "values.schema.json").read_text())

    def holes(node: Any, path: str) -> list[str]:
        found: list[str] = []
        if isinstance(node, dict):
            closed = node.get("additionalProperties") is False or isinstance(node.get("additionalProperties"), dict)
            if node.get("type") == "object" and not closed and "description" not in node and path != "/$defs/kubernetesList/items":
                found.append(path)
            for name, value in node.items():
                found += holes(value, f"{path}/{name}")
        elif isinstance(node, list):
            for number, value in enumerate(node):
                found += holes(value, f"{path}/{number}")
        return found

    assert not holes(schema, "")


def test_the_schema_knows_every_value_and_no_other_but_those_it_says_so_of() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) - set(defaults) == {"enabled", "deployments"}
    assert not set(defaults) - set(schema["properties"])


@pytest.mark.helm
def test_the_values_in_the_readme_can_be_used() -> None:
    readme = (CHART / "README.md").read_text()
    (quick,) = (yaml.safe_load(block) for block in re.findall(r"^   ```yaml\n(.*?)^   ```", readme, re.MULTILINE | re.DOTALL))
    manifests = render(quick)
    assert only(manifests, "Role")["rules"][0]["resourceNames"] == ["issuer-oauth"]
    (openshift,) = re.findall(r"`(podSecurityContext: \{.*?\})`", readme)
    assert set(look(only(render(yaml.safe_load(openshift)), "Deployment"), "spec/template/spec/securityContext")) == {
        "runAsNonRoot",
        "seccompProfile",
    }


def notes(values: dict[str, Any], folder: Path) -> str:
    """Return the notes; helm renders them for an installation only, so that it is told to try one, without a cluster."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    done = run_helm("install", "exchanger", CHART, "-n", "edge", "--dry-run=client", "--values", path)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:")[2]


@pytest.mark.helm
def test_the_notes_warn_of_what_is_dangerous_and_of_nothing_else(tmp_path: Path) -> None:
    gateways: dict[str, Any] = {
        "networkPolicy": {"ingress": {"gateways": [{"podSelector": {}}]}},
        "authorizationPolicy": {"enabled": True},
    }
    good = notes({"issuerProfiles": {"profiles": [PROFILE]}, **gateways}, tmp_path)
    assert "exchanger.edge.svc.cluster.local:3001 (gRPC, plaintext)" in good
    assert "WARNING" not in good
    assert "NOTE:" not in good
    assert "reach the API server on ports 443, 6443. If yours listens elsewhere" in good
    server = {"networkPolicy": {"egress": {"apiServer": {"ports": [16443]}}}}
    assert "reach the API server on port 16443. If yours" in notes(server, tmp_path)
    assert "API server on" not in notes({"networkPolicy": {"enabled": False}}, tmp_path)
    dangerous = {
        **MTLS,
        "tokenExchange": {"insecureLogTokens": True},
        "env": {"TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "1"},
        "issuerProfiles": {"profiles": [{**PROFILE, "clientSecret": "hush"}]},
        "rbac": {"create": False},
    }
    bad = notes(dangerous, tmp_path)
    assert bad.count("WARNING") == 4
    assert bad.count("NOTE:") == 3
    assert "no gateway is wired" in bad
    assert "exchanger.edge.svc.cluster.local:3000 (gRPC, TLS with client certificates)" in bad
    assert "hush" not in bad
    assert "there is no issuer profile" in notes({}, tmp_path)


EVERYBODY: tuple[list[dict[str, Any]], ...] = (
    [{"namespaceSelector": {}}],
    [{"namespaceSelector": {"matchLabels": {}}}],
    [{"namespaceSelector": {"matchExpressions": []}, "podSelector": {"matchLabels": {}}}],
    [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}],
    [{"ipBlock": {"cidr": "::/0"}}],
    [*PEERS, {"namespaceSelector": {}}],
)
SOMEBODY: tuple[list[dict[str, Any]], ...] = (
    [],
    PEERS,
    [{"podSelector": {}}],
    [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "gateway"}}}],
    [{"namespaceSelector": {"matchExpressions": [{"key": "gateways", "operator": "Exists"}]}}],
    [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
)


@pytest.mark.helm
@pytest.mark.parametrize("gateways", [*EVERYBODY, *SOMEBODY], ids=str)
def test_the_notes_say_where_everybody_is_let_in(gateways: list[dict[str, Any]], tmp_path: Path) -> None:
    told = "networkPolicy.ingress.gateways lets everybody ask" in notes({"networkPolicy": {"ingress": {"gateways": gateways}}}, tmp_path)
    assert told is (gateways in EVERYBODY)


@pytest.mark.helm
def test_the_notes_say_what_is_open_to_any_address_and_which_links_lead_nowhere(tmp_path: Path) -> None:
    open_to_all = "gkeAuthz.callout.sourceRanges is empty"
    assert open_to_all in notes({"gkeAuthz": {"enabled": True, "callout": {"sourceRanges": []}}}, tmp_path)
    everything = {"gkeAuthz": {"enabled": True, "callout": {"sourceRanges": ["35.191.0.0/16", "::/0"]}}}
    assert "gkeAuthz.callout.sourceRanges is everything: any address" in notes(everything, tmp_path)
    assert open_to_all not in notes({"gkeAuthz": {"enabled": True}}, tmp_path)
    assert open_to_all not in notes({"gkeAuthz": {"callout": {"sourceRanges": []}}}, tmp_path)
    nowhere = "prometheusRule.runbookBaseUrl (docs/runbooks) is not a URL"
    assert nowhere in notes({"prometheusRule": {"enabled": True}}, tmp_path)
    assert "runbookBaseUrl" not in notes({}, tmp_path)
    assert "runbookBaseUrl" not in notes({"prometheusRule": {"enabled": True, "runbookBaseUrl": "https://a.example/runbooks"}}, tmp_path)


@pytest.mark.helm
def test_the_notes_warn_of_a_port_that_asks_for_no_certificate_beside_one_that_does(tmp_path: Path) -> None:
    warning = "WARNING: tls.clientCA requires client certificates on the TLS port only. The plaintext port is still in the Service"
    beside = notes(MTLS, tmp_path)
    assert f"{warning} and the NetworkPolicy, and" in beside
    assert "Set tls.only, and tests.enabled to false" in beside
    assert f"{warning}, and" in notes({**MTLS, "networkPolicy": {"enabled": False}}, tmp_path)
    assert warning not in notes({"tls": {**MTLS["tls"], "only": True}, "tests": {"enabled": False}}, tmp_path)
    assert warning not in notes(TLS, tmp_path)


@pytest.mark.helm
def test_the_notes_say_how_the_console_is_reached(tmp_path: Path) -> None:
    assert "onsole" not in notes({}, tmp_path)
    assert "onsole" not in notes({"console": {"token": {"secretName": "sesame"}}}, tmp_path)
    open_one = notes(CONSOLE, tmp_path)
    assert "http://localhost:3003 while" in open_one
    assert "\n  kubectl -n edge port-forward deployment/exchanger 3003\n" in open_one
    assert "asks for the token" not in open_one
    values = {"console": {"enabled": True, "port": 4003, "token": {"secretName": "sesame", "key": "k"}}, "fullnameOverride": "authz"}
    guarded = notes(values, tmp_path)
    assert "\n  kubectl -n edge port-forward deployment/authz 4003\nand asks for the token in the Secret sesame, key k.\n" in guarded


@pytest.mark.helm
def test_the_notes_say_who_reaches_the_metrics_without_a_network_policy(tmp_path: Path) -> None:
    closed: dict[str, Any] = {"networkPolicy": {"enabled": False}}
    assert "That goes for the metrics on port 3002 too" in notes(closed, tmp_path)
    assert "the metrics on port 9000 too" in notes({**closed, "env": {"METRICS_PORT": "9000"}}, tmp_path)
    for values in ({}, {**closed, "metrics": {"enabled": False}}, {**closed, "env": {"METRICS_ENABLED": "no"}}):
        assert "That goes for the metrics" not in notes(values, tmp_path)
