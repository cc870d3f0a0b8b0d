"""The webhook under grants, with a real API server."""

from collections.abc import Generator
from typing import Final

import httpx
import pytest

from tests.admission.running import Running, running, until
from tests.kube.admin import NAMESPACE_LABELS
from tests.kube.control_plane import ControlPlane

pytestmark = pytest.mark.kubernetes

GRANTS: Final = (
    "version: v1\ngrants: [{namespaceSelector: area, hosts: ['{label:area}.example.com'], issuers: [primary, later], scopes: ['*']}]\n"
)
OK: Final = (httpx.codes.OK, httpx.codes.CREATED)


def deny(host: str = "api.example.com") -> str:
    return f"version: v1\nentries: [{{match: {{host: {host}, pathPrefix: /a}}, action: deny}}]"


@pytest.fixture(scope="module")
def granting(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    folder = tmp_path_factory.mktemp("webhook")
    (folder / "grants.yaml").write_text(GRANTS)
    with running(control_plane, folder, POLICY_GRANTS_FILE=str(folder / "grants.yaml")) as found:
        control_plane.admin.put_namespace("team", {**NAMESPACE_LABELS, "area": "api"})
        until(lambda: found.apply(deny(), "ready", dryRun="All").is_success, found.lines)
        yield found


def test_a_namespace_and_its_policy_may_be_applied_at_once(granting: Running) -> None:
    for number in range(5):
        team = f"new-{number}"
        granting.plane.admin.put_namespace(team, {**NAMESPACE_LABELS, "area": f"area-{number}"})
        assert granting.apply(deny(host=f"area-{number}.example.com"), team=team).status_code in OK
        granting.plane.admin.delete_namespace(team)


def test_what_the_grants_would_refuse_is_refused(granting: Running) -> None:
    answer = granting.apply(deny(host="other.example.com"))
    assert answer.status_code == httpx.codes.FORBIDDEN
    assert "outside the hosts and paths that its namespace is granted" in answer.json()["message"]
    granting.plane.admin.put_namespace("team", {**NAMESPACE_LABELS, "area": "other"})
    until(lambda: granting.apply(deny(host="other.example.com"), dryRun="All").is_success, granting.lines)
    (granting.folder / "grants.yaml").write_text(GRANTS.replace("hosts:", "actions: [exchange], hosts:"))
    until(lambda: granting.apply(deny(host="other.example.com"), dryRun="All").is_client_error, granting.lines)
