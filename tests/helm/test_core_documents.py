"""The chart's README and NOTES.txt say what is so."""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from exchanger import __version__
from tests.helm.cases import look
from tests.helm.chart import CHART, ROOT, notes, only, render
from tests.helm.rendered_cluster import DEMO_CHART

WRITER = ROOT / ".ci" / "generate.py"


def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", WRITER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_values_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, WRITER, "--check", "values"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("chart", "open_objects", "unlisted"),
    [
        (
            CHART,
            # Of a kind that Kubernetes defines and checks.
            ["/properties/podSecurityContext", "/properties/securityContext", "/$defs/kubernetesObject", "/$defs/kubernetesList/items"],
            {"enabled", "deployments"},
        ),
        (DEMO_CHART, [], {"enabled", "global"}),
    ],
    ids=["service", "demo"],
)
def test_the_schema_knows_every_value_and_has_no_free_form_holes(chart: Path, open_objects: list[str], unlisted: set[str]) -> None:
    """Every object names its properties, or maps names to one kind of value, but for those that are listed here."""
    schema = json.loads((chart / "values.schema.json").read_text())

    def holes(node: Any, path: str) -> Iterator[str]:
        if isinstance(node, dict) and node.get("type") == "object" and node.get("additionalProperties", True) is True:
            yield path
        members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for name, value in members:
            yield from holes(value, f"{path}/{name}")

    assert list(holes(schema, "")) == ["/properties/global", *open_objects]
    assert set(schema["properties"]) == set(yaml.safe_load((chart / "values.yaml").read_text())) | unlisted


@pytest.mark.parametrize("chart", [CHART, DEMO_CHART], ids=["service", "demo"])
def test_the_charts_versions_are_the_services(chart: Path) -> None:
    found = yaml.safe_load((chart / "Chart.yaml").read_text())
    assert (found["version"], found["appVersion"]) == (__version__, __version__)


@pytest.mark.helm
def test_the_values_for_openshift_leave_users_to_the_cluster() -> None:
    (openshift,) = re.findall(r"`(podSecurityContext: \{.*?\})`", (CHART / "README.md").read_text())
    assert set(look(only(render(yaml.safe_load(openshift)), "Deployment"), "spec/template/spec/securityContext")) == {
        "runAsNonRoot",
        "seccompProfile",
    }


@pytest.mark.helm
@pytest.mark.parametrize("case", yaml.safe_load(Path(__file__).with_name("notes.yaml").read_text()), ids=lambda case: str(case["values"]))
def test_the_notes_say_what_is_so_and_warn_of_what_is_dangerous(case: dict[str, Any]) -> None:
    text = notes(CHART, "exchanger", "edge", case["values"])
    for said in case.get("says", ()):
        assert said in text
    for unsaid in case.get("not", ()):
        assert unsaid not in text
    for word, count in (("WARNING", "warnings"), ("NOTE:", "notes")):
        assert count not in case or text.count(word) == case[count]
