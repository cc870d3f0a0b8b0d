"""The values in the guides to issuers make profiles that the service takes, whose Secrets it may read and whose files are mounted."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from exchanger.cli import main
from tests.helm.chart import ROOT, Manifest, of_kind, render

pytestmark = [pytest.mark.helm]

HOW_TO: Final = ROOT / "docs" / "how-to"
COMMON: Final = HOW_TO / "issuers.md"
# ``check`` fetches metadata from the first issuer of a chain, so the guide with a chain is not checked.
CHAIN: Final = HOW_TO / "cross-app-access.md"
GUIDES: Final = tuple(HOW_TO / f"{name}.md" for name in ("keycloak", "entra", "okta", "cognito", "zitadel", "spiffe", "mcp"))
YAML: Final = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# How the guides fetch the active profiles.
FETCHED: Final = re.compile(r"get configmap (\S+) -o jsonpath='\{\.data\.([^}]+)\}'")


def documents(guide: Path) -> list[Any]:
    return [yaml.safe_load(text) for text in YAML.findall(guide.read_text())]


def policies(guide: Path) -> list[Any]:
    """Return the guide's policies, or the common policy, with the guide's ``exchange`` if it has one."""
    if own := [document for document in documents(guide) if document.get("kind") == "ConfigMap"]:
        return own
    (common,) = (document for document in documents(COMMON) if document.get("kind") == "ConfigMap")
    policy = yaml.safe_load(common["data"]["config.yaml"])
    for document in documents(guide):
        policy["entries"][0] |= document if document.keys() == {"exchange"} else {}
    return [common | {"data": {"config.yaml": yaml.safe_dump(policy)}}]


def values(guide: Path) -> list[dict[str, Any]]:
    """Return the blocks of values with profiles, each with the volumes of the block that has none."""
    found = [document for document in documents(guide) if document.keys() & {"issuerProfiles", "extraVolumes"}]
    volumes: dict[str, Any] = next((document for document in found if "issuerProfiles" not in document), {})
    return [volumes | document for document in found if "issuerProfiles" in document]


def cases(*guides: Path) -> list[Any]:
    return [pytest.param(guide, block, id=f"{guide.stem}-{number}") for guide in guides for number, block in enumerate(values(guide))]


def test_every_guide_has_values_with_a_profile() -> None:
    assert {case.values[0] for case in cases(*GUIDES)} == set(GUIDES)


def profiles(manifests: list[Manifest]) -> Manifest:
    (found,) = (manifest for manifest in of_kind(manifests, "ConfigMap") if "issuers.yaml" in manifest["data"])
    return found


@pytest.mark.parametrize(("guide", "block"), cases(*GUIDES))
def test_the_service_takes_the_profiles_and_the_policy(
    guide: Path, block: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    issuers, policy = tmp_path / "issuers.yaml", tmp_path / "policy.yaml"
    issuers.write_text(profiles(render(block))["data"]["issuers.yaml"])
    policy.write_text(yaml.safe_dump_all(policies(guide)))
    status = main(["check", "--issuers", str(issuers), str(policy)])
    said = capsys.readouterr().out
    # The guides' policies cover a part of their host.
    assert (status, re.findall(r"(error|warning|notice) ([A-Z]+-\d+)", said)) == (0, [("notice", "POL-2108")])


@pytest.mark.parametrize(("guide", "block"), cases(*GUIDES, CHAIN))
def test_the_profiles_secrets_may_be_read_and_their_files_are_mounted(guide: Path, block: dict[str, Any]) -> None:
    del guide
    manifests = render(block)
    text = str(yaml.safe_load(profiles(manifests)["data"]["issuers.yaml"]))
    secrets = {name for found in of_kind(manifests, "Role") for rule in found["rules"] for name in rule.get("resourceNames", [])}
    assert secrets == set(re.findall(r"SecretRef': {[^}]*'name': '([^']+)'", text))
    (deployment,) = of_kind(manifests, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert [path for path in re.findall(r"'(/[^']+)'", text) if str(Path(path).parent) not in mounts] == []


def test_the_common_steps_fetch_what_the_chart_makes() -> None:
    made = profiles(render(values(GUIDES[0])[0]))
    ((name, key),) = FETCHED.findall(COMMON.read_text())
    assert (name, key.replace("\\", "")) == (made["metadata"]["name"], "issuers.yaml")
