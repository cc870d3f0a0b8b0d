"""Grants with a real API server: a file edited, a Namespace relabelled, a document broken and mended, each in force in one version."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from tests.e2e.service import Service
from tests.e2e.test_serve import status
from tests.kube.admin import NAMESPACE_LABELS, WRITE_EVENTS, until
from tests.kube.control_plane import ControlPlane
from tests.kube.test_service import deny, running, set_up

pytestmark = pytest.mark.kubernetes

# Granted are the paths below the label "area" of the Namespace, and those of the file.
GRANTS: Final = """
version: v1
grants:
- {{namespaceSelector: area, hosts: [api.example.com], pathPrefixes: ["/{{label:area}}"{more}]}}
baseline: [{{match: {{host: api.example.com, pathPrefix: /internal}}, action: deny}}]
"""
TWO: Final = (
    "version: v1\nentries:\n- {match: {host: api.example.com, pathPrefix: /one/x}, action: deny}\n"
    "- {match: {host: api.example.com, pathPrefix: /two/x}, action: deny}\n"
)
PATHS: Final = ("/one/x", "/two/x", "/internal/x")


@attrs.frozen
class Granting:
    """A service under grants, and the file that they are in."""

    service: Service
    file: Path
    cluster: ControlPlane

    def grant(self, *more: str) -> None:
        """Write the file anew, in one step."""
        new = self.file.with_suffix(".new")
        new.write_text(GRANTS.format(more="".join(f", {prefix}" for prefix in more)))
        new.replace(self.file)

    def relabel(self, **labels: str) -> None:
        self.cluster.admin.put_namespace("team", {**NAMESPACE_LABELS, **labels})

    def put(self, document: str) -> None:
        self.cluster.admin.put_config_map("team", "policy", document)

    def answers(self) -> list[int]:
        return [status(self.service.check(path)) for path in PATHS]

    def versions(self) -> list[dict[str, Any]]:
        """Return the lines of the versions that were published."""
        lines = (json.loads(line) for line in self.service.lines().splitlines() if "policy.published" in line)
        return [line for line in lines if line["event"] == "policy.published"]

    def becomes(self, *answers: int) -> None:
        """Wait until the change that was made is in force, which leads to these answers."""
        until(lambda: self.answers() == [*answers], self.service.lines)


@pytest.fixture(scope="module")
def running_service(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Generator[Granting]:
    set_up(control_plane, WRITE_EVENTS, labels={**NAMESPACE_LABELS, "area": "one"})
    control_plane.admin.put_config_map("team", "policy", TWO)
    folder = tmp_path_factory.mktemp("granting")
    file = folder / "grants.yaml"
    file.write_text(GRANTS.format(more=""))
    with running(control_plane, folder, POLICY_GRANTS_FILE=str(file), METRICS_ENABLED="true") as service:
        yield Granting(service, file, control_plane)


@pytest.fixture
def granting(running_service: Granting) -> Granting:
    """One service for all tests, in the same state for each."""
    running_service.grant()
    running_service.relabel(area="one")
    running_service.put(TWO)
    running_service.becomes(403, 200, 403)
    return running_service


def test_authors_and_operators_are_told(granting: Granting) -> None:
    admin = granting.cluster.admin

    def told() -> set[tuple[str, str]]:
        return {(event["reason"], event["type"]) for event in admin.request("GET", "/api/v1/namespaces/team/events")["items"]}

    until(lambda: ("PolicyRefused", "Warning") in told(), granting.service.lines)
    until(lambda: '"event":"policy.refused"' in granting.service.lines(), granting.service.lines)
    granting.put(deny("/one/x"))
    until(lambda: ("PolicyAccepted", "Normal") in told(), granting.service.lines)
    until(lambda: granting.service.metric("policy_entries_refused") == 0.0, granting.service.lines)


def test_each_change_of_what_is_granted_is_in_force_in_one_version_and_a_file_that_cannot_be_used_is_none(granting: Granting) -> None:
    def versions_after_a_file_that_cannot_be_used() -> int:
        answers, rejected = granting.answers(), granting.service.lines().count("grants.rejected")
        granting.file.write_text("version: v1\ngrants: [{hosts: [a]}]")
        until(lambda: granting.service.lines().count("grants.rejected") > rejected, granting.service.lines)
        assert granting.answers() == answers
        return len(granting.versions())

    before, changes = versions_after_a_file_that_cannot_be_used(), 6
    granting.grant("/two")
    granting.becomes(403, 403, 403)
    granting.grant()
    granting.becomes(403, 200, 403)
    granting.relabel(area="two")
    granting.becomes(200, 403, 403)
    granting.put("version: v1\nentries: {")  # what is granted closes, and nothing else
    granting.becomes(200, 500, 403)
    granting.put(TWO)
    granting.becomes(200, 403, 403)
    granting.relabel()  # without the label, the grant is for others
    granting.becomes(200, 200, 403)
    assert granting.service.metric("policy_entries_refused") == 2.0
    assert versions_after_a_file_that_cannot_be_used() == before + changes
