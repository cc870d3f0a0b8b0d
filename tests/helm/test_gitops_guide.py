"""Argo CD renders the chart of the guide's application alike each time, and the guide names all that would differ."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.helm.chart import CHART, KUBERNETES, Manifest, run_helm
from tests.helm.cluster import Cluster
from tests.helm.guides import GUIDES, block

pytestmark = [pytest.mark.helm]

PAGE: Final = GUIDES / "gitops.md"
APPLICATION: Final = block("argocd", "")["spec"]
RELEASE: Final = block("flux", "")["spec"]
IGNORED: Final = block("argocd", "generated")["ignoreDifferences"]
# Functions whose results depend on the cluster or on the rendering.
CHANGING: Final = re.compile(r"\{\{.*\b(gen[A-Z]\w+|rand\w+|uuidv4|now|lookup|APIVersions)\b")
# The templates that use one, with the value that the guide has for each.
USES: Final = {
    "admission-webhook.yaml": "admission.tls.source",
    "gke-certificate.yaml": "gkeAuthz.callout.tls.selfSigned.enabled",
    "_helpers.tpl": "autoscaling.enabled",
    "validate.yaml": "rbac.clusterRoleBindingName",
}


def rendered(values: dict[str, Any], folder: Path) -> list[Manifest]:
    """Render as Argo CD does: https://github.com/argoproj/argo-cd/blob/master/util/helm/cmd.go."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    options = ("--name-template", "exchanger", "--namespace", "edge", "--kube-version", KUBERNETES, "--include-crds")
    done = run_helm("template", CHART, *options, "--values", path)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def differing(first: object, second: object, path: str = "") -> set[str]:
    """Return the JSON pointers at which two renderings differ."""
    if isinstance(first, dict) and isinstance(second, dict):
        return {found for key in first.keys() | second.keys() for found in differing(first.get(key), second.get(key), f"{path}/{key}")}
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return {found for number, pair in enumerate(zip(first, second, strict=True)) for found in differing(*pair, f"{path}/{number}")}
    return set() if first == second else {path}


def rewritten(wanted: object, stored: object, path: str = "") -> set[str]:
    """Return the JSON pointers of what ``stored`` has in another form than ``wanted``; what is not wanted may be anything."""
    if isinstance(wanted, dict) and isinstance(stored, dict):
        return {found for key in wanted for found in rewritten(wanted[key], stored.get(key), f"{path}/{key}")}
    if isinstance(wanted, list) and isinstance(stored, list) and len(wanted) == len(stored):
        return {found for number, pair in enumerate(zip(wanted, stored, strict=True)) for found in rewritten(*pair, f"{path}/{number}")}
    return set() if wanted == stored else {path}


def test_application_of_the_guide_renders_alike_twice(tmp_path: Path) -> None:
    values = APPLICATION["source"]["helm"]["valuesObject"]
    manifests = rendered(values, tmp_path)
    assert manifests == rendered(values, tmp_path)
    assert {"ValidatingWebhookConfiguration", "HorizontalPodAutoscaler"} <= {manifest["kind"] for manifest in manifests}


def test_generated_certificate_changes_only_what_the_guide_ignores(tmp_path: Path) -> None:
    values = {**APPLICATION["source"]["helm"]["valuesObject"], "admission": {"enabled": True}}
    for first, second in zip(rendered(values, tmp_path), rendered(values, tmp_path), strict=True):
        found = differing(first, second)
        if first["kind"] == "Secret":
            assert first["metadata"]["name"] == IGNORED[0]["name"]
            assert {re.match("/[^/]*", path)[0] for path in found} == set(IGNORED[0]["jsonPointers"])  # type: ignore[index]
        elif first["kind"] == IGNORED[1]["kind"]:
            assert found == {f"/webhooks/{number}/clientConfig/caBundle" for number in range(len(first["webhooks"]))}
        else:
            assert found == set()


def test_guide_names_the_value_of_each_template_that_looks_or_draws() -> None:
    using = {path.name for path in (CHART / "templates").rglob("*.*") if CHANGING.search(path.read_text())}
    assert using == USES.keys()
    rows = re.findall(r"^\| `([a-zA-Z.]+)", PAGE.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(USES.values())


def test_chart_has_no_definitions_and_no_hook_but_the_test(tmp_path: Path) -> None:
    assert not (CHART / "crds").exists()
    hooks = [
        manifest["metadata"]["annotations"]["helm.sh/hook"]
        for manifest in rendered({}, tmp_path)
        if "helm.sh/hook" in manifest["metadata"].get("annotations", {})
    ]
    assert hooks == ["test"]


def test_release_of_flux_ignores_what_the_application_ignores() -> None:
    (ignored,) = APPLICATION["ignoreDifferences"]
    (rule,) = RELEASE["driftDetection"]["ignore"]
    assert (rule["target"]["kind"], rule["paths"]) == (ignored["kind"], ignored["jsonPointers"])
    assert RELEASE["chart"]["spec"]["chart"] == f"./{APPLICATION['source']['path']}"


@pytest.mark.full
@pytest.mark.kubernetes
def test_api_server_stores_the_application_of_the_guide_as_written(cluster: Cluster, tmp_path: Path) -> None:
    """A value in another form would be a difference for ever; quantities have several forms, and are compared as numbers."""
    cluster.plane.admin.put_namespace("edge")
    values = APPLICATION["source"]["helm"]["valuesObject"]
    items = [found for found in rendered(values, tmp_path) if "cert-manager.io" not in found["apiVersion"]]
    assert cluster.apply(items).returncode == 0
    done = cluster.kubectl("get", "-f", "-", "-o", "json", given=yaml.safe_dump_all(items))
    stored = json.loads(done.stdout)["items"]
    found = {path for item, there in zip(items, stored, strict=True) for path in rewritten(item, there)}
    assert {path for path in found if "/resources/" not in path} == set()
