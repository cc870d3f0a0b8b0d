"""The values in the guides to issuers make profiles that the service takes, whose Secrets it may read and whose files are mounted."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from exchanger.cli import main
from tests.helm.chart import ROOT, Manifest, of_kind, render

pytestmark = [pytest.mark.helm]

GUIDES: Final = tuple(ROOT / "docs" / "how-to" / f"{name}.md" for name in ("keycloak", "entra", "okta", "spiffe", "mcp"))
YAML: Final = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# How the guides fetch the profiles that are in force.
FETCHED: Final = re.compile(r"get configmap (\S+) -o jsonpath='\{\.data\.([^}]+)\}'")


def documents(guide: Path) -> list[Any]:
    return [yaml.safe_load(text) for text in YAML.findall(guide.read_text())]


def policies(guide: Path) -> list[Any]:
    return [document for document in documents(guide) if document.get("kind") == "ConfigMap"]


def values(guide: Path) -> list[dict[str, Any]]:
    """Return the blocks of values with profiles, each with the volumes of the block that has none."""
    found = [document for document in documents(guide) if document.keys() & {"issuerProfiles", "extraVolumes"}]
    volumes: dict[str, Any] = next((document for document in found if "issuerProfiles" not in document), {})
    return [volumes | document for document in found if "issuerProfiles" in document]


CASES: Final = [pytest.param(guide, block, id=f"{guide.stem}-{number}") for guide in GUIDES for number, block in enumerate(values(guide))]


def test_every_guide_has_values_with_a_profile() -> None:
    assert {case.values[0] for case in CASES} == set(GUIDES)


def profiles(manifests: list[Manifest]) -> Manifest:
    (found,) = (manifest for manifest in of_kind(manifests, "ConfigMap") if "issuers.yaml" in manifest["data"])
    return found


@pytest.mark.parametrize(("guide", "block"), CASES)
def test_the_service_takes_the_profiles_and_the_policy(
    guide: Path, block: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    issuers, policy = tmp_path / "issuers.yaml", tmp_path / "policy.yaml"
    issuers.write_text(profiles(render(block))["data"]["issuers.yaml"])
    policy.write_text(yaml.safe_dump_all(policies(guide) or policies(GUIDES[0])))  # SPIFFE's guide has none of its own
    status = main(["check", "--issuers", str(issuers), str(policy)])
    said = capsys.readouterr().out
    # The guides' policies cover a part of their host.
    assert (status, re.findall(r"(error|warning|notice) ([A-Z]+-\d+)", said)) == (0, [("notice", "POL-2108")])


@pytest.mark.parametrize(("guide", "block"), CASES)
def test_the_profiles_secrets_may_be_read_and_their_files_are_mounted(guide: Path, block: dict[str, Any]) -> None:
    del guide
    manifests = render(block)
    (profile,) = yaml.safe_load(profiles(manifests)["data"]["issuers.yaml"])["issuers"]
    text = str(profile)
    secrets = {name for found in of_kind(manifests, "Role") for rule in found["rules"] for name in rule.get("resourceNames", [])}
    assert secrets == set(re.findall(r"'keySecretRef': {[^}]*'name': '([^']+)'", text))
    (deployment,) = of_kind(manifests, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert [path for path in re.findall(r"'(/[^']+)'", text) if str(Path(path).parent) not in mounts] == []


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: str(guide.stem))
def test_the_guide_fetches_what_the_chart_makes(guide: Path) -> None:
    made = profiles(render(values(guide)[0]))
    for name, key in FETCHED.findall(guide.read_text()):
        assert (name, key.replace("\\", "")) == (made["metadata"]["name"], "issuers.yaml")
