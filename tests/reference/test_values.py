"""The chart takes the values that the Go project's pages and DevSpace profiles have, and wires what its chart wired (``values.yaml``)."""

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.helm.cases import CONTAINER, look
from tests.helm.chart import OTHER_GROUPS, of_kind, only, render, validate

pytestmark = [pytest.mark.helm]

FILE: Final[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("values.yaml").read_text())
# Of other groups than Kubernetes' own, but not for gateways.
MONITORING: Final = "monitoring.coreos.com"


@pytest.mark.parametrize("name", FILE["files"])
def test_the_chart_takes_the_values(name: str) -> None:
    case = FILE["files"][name]
    manifests = render([FILE["base"], *case["files"]], namespace=case.get("namespace", "edge"))
    for manifest in manifests:
        validate(manifest)
    groups = {manifest["kind"]: manifest["apiVersion"].split("/")[0] for manifest in manifests}
    assert sorted(kind for kind, group in groups.items() if group in OTHER_GROUPS and group != MONITORING) == case["wires"]
    variables = {one["name"]: one.get("value") for one in look(only(manifests, "Deployment"), f"{CONTAINER}/env")}
    given = {key: value for file in (FILE["base"], *case["files"]) for key, value in file.get("env", {}).items()}  # later files win
    assert given.items() <= variables.items()
    files = [found["data"]["issuers.yaml"] for found in of_kind(manifests, "ConfigMap") if "issuers.yaml" in found["data"]]
    assert [issuer["name"] for file in files for issuer in yaml.safe_load(file)["issuers"]] == case.get("issuers", [])
