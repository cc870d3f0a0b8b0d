"""The service as the charts run it: with exactly the environment, the files and the ServiceAccount that they render.

It is on a real API server, behind a real Envoy, with the demo's token endpoint and upstream. The demo's scenarios pass, what changes takes
effect without a restart, and the pod may do what it needs and no more.
"""

import base64
import copy
import json
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from exchanger import __version__
from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.demo.setup import demo_target
from exchanger.commands.demo.token_endpoint.fake import CLIENT_SECRET
from exchanger.commands.scenarios.answer import Exchanged, Reached, RequestedTarget, ScenarioAnswer
from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.client import LOOPBACK
from exchanger.commands.scenarios.runner import Finding, run_scenario
from exchanger.commands.scenarios.scenario import OneRequest, PolicyEdit, Scenario
from exchanger.policy.selection import DOCUMENT_KEY
from tests.helm.cluster import Cluster
from tests.helm.rendered_cluster import DEMO, READY_S, SERVICE, Released, Running, install, running
from tests.helm.rendered_kubelet import unshare
from tests.ports import free_port

pytestmark = [pytest.mark.full, pytest.mark.envoy, pytest.mark.helm, pytest.mark.kubernetes, pytest.mark.mounts]

# Seconds until a change is seen; files are looked at every second, and watches tell at once.
SEEN_S = 15.0
POLL_S = 0.05
OWN_SECRET = f"/api/v1/namespaces/{DEMO}/secrets/exchanger-demo-oauth"
BLUE = "/api/v1/namespaces/team-blue"
OLD_TOKEN, NEW_TOKEN = (f"{age}-token-of-the-console" for age in ("old", "new"))
# Another address of this machine, as a pod's own is beside its loopback address.
ELSEWHERE = "127.0.0.2"
YELLOW_POLICY = "/api/v1/namespaces/team-yellow/configmaps/token-policy"


@pytest.fixture(scope="module")
def released(cluster: Cluster) -> Generator[Released]:
    unshare()
    yield install(cluster)
    for name, namespace in ((SERVICE, SERVICE), ("demo", DEMO)):
        cluster.uninstall(name, namespace)


def named(name: str) -> OneRequest:
    (found,) = [scenario for scenario in SCENARIOS if scenario.name == name]
    assert isinstance(found, OneRequest)
    return found


def exchanged(scope: str = "", resources: tuple[str, ...] = ()) -> ScenarioAnswer:
    return ScenarioAnswer(200, upstream=Exchanged(RequestedTarget(scope, resources)))


async def until(pods: Running, scenario: OneRequest, expected: ScenarioAnswer) -> None:
    """Ask until the answer is as expected."""
    token = pods.site.subjects.token(scenario.call.subject)
    got: ScenarioAnswer | str = ""
    with trio.move_on_after(SEEN_S):
        while True:
            target = demo_target(pods.site)
            got = target.check(await target.send(scenario.call, token))
            if got == expected:
                return
            await trio.sleep(POLL_S)
    raise AssertionError(f"{got} instead of {expected}\n{pods.log}")


async def as_expected(pods: Running, scenario: Scenario) -> Finding:
    """Return what comes of a scenario.

    The service gives an exchange less than a second, which a busy machine does not always have; what is wrong is wrong each time.
    """
    finding = await run_scenario(scenario, demo_target(pods.site))
    for _ in range(2):
        if not finding.ok:
            finding = await run_scenario(scenario, demo_target(pods.site))
    return finding


async def change(pods: Running, path: str, body: dict[str, Any]) -> None:
    await trio.to_thread.run_sync(pods.released.plane.admin.merge, path, body)


async def edited(pods: Running, old: str, new: str) -> None:
    """Edit team yellow's policy, as ``kubectl edit`` does."""
    admin = pods.released.plane.admin
    document = (await trio.to_thread.run_sync(admin.request, "GET", YELLOW_POLICY))["data"][DOCUMENT_KEY]
    assert old in document
    await change(pods, YELLOW_POLICY, {"data": {DOCUMENT_KEY: document.replace(old, new)}})


async def run_edit(pods: Running, scenario: PolicyEdit) -> None:
    """What ``run_scenario`` does to a file, done to the ConfigMap."""
    plain = OneRequest(scenario.name, scenario.watch, scenario.call, scenario.expected)
    await edited(pods, scenario.old, scenario.new)
    try:
        await until(pods, plain, scenario.edited)
    finally:
        await edited(pods, scenario.new, scenario.old)
    await until(pods, plain, scenario.expected)


@asynccontextmanager
async def undone(released: Released) -> AsyncGenerator[None]:
    """Bring back what a test changes beside Helm, which would leave it as it finds it, and what it upgrades."""
    admin = released.plane.admin
    changed = (OWN_SECRET, YELLOW_POLICY, BLUE, f"{BLUE}/configmaps/token-policy")
    before = {path: await trio.to_thread.run_sync(admin.request, "GET", path) for path in changed}

    def bring_back() -> None:
        for path, manifest in before.items():
            parts = {name: manifest[name] for name in ("data",) if name in manifest}
            admin.merge(path, {"metadata": {"labels": manifest["metadata"]["labels"]}, **parts})
        released.upgrade()

    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(bring_back)


@pytest.mark.parametrize("mode", FilterMode, ids=lambda mode: mode.value)
async def test_the_demos_scenarios_pass_through_what_the_charts_render(released: Released, tmp_path: Path, mode: FilterMode) -> None:
    async with running(released, tmp_path, mode) as pods:
        for scenario in SCENARIOS:
            if isinstance(scenario, PolicyEdit):
                await run_edit(pods, scenario)
            elif not scenario.call.grants:  # the charts have neither the teams nor the grants for the others
                finding = await as_expected(pods, scenario)
                assert finding.ok, (finding, pods.log)
    # Nothing was refused to it by the API server, and of what it knows it told nothing.
    assert "needs " not in pods.log
    assert "policy.source_disconnected" not in pods.log
    for secret in (CLIENT_SECRET, pods.site.subjects.valid, pods.site.subjects.expired):
        assert secret not in pods.log


@pytest.mark.slow
async def test_secrets_policies_labels_and_profiles_take_effect_without_a_restart(released: Released, tmp_path: Path) -> None:
    plane = released.plane
    locked_out, orders, reports, challenged = map(named, ("unauthorized", "yellow-success", "blue-success", "missing-bearer"))
    allowed = 'action: exchange\n    exchange: {issuerRef: demo, scope: "read:orders"}'
    async with undone(released), running(released, tmp_path) as pods:
        process = pods.service.pid
        for scenario in (locked_out, orders, reports, challenged):
            await until(pods, scenario, scenario.expected)

        # A rotated Secret: the client whose secret was an old one gets the new one.
        await change(pods, OWN_SECRET, {"stringData": {"old_client_secret": CLIENT_SECRET}})
        await until(pods, locked_out, exchanged(resources=("https://inventory.red.example.com/",)))

        # A team's edit: exchanged becomes denied.
        await edited(pods, f"/orders}}\n    {allowed}", "/orders}\n    action: deny")
        await until(pods, orders, ScenarioAnswer(403, '{"error":"policy_denied"}'))

        # A label that is withdrawn takes the Namespace's policy out of force, and a ConfigMap's own its own.
        selector = "ext-authz-token-exchange.magneticflux.net"
        await trio.to_thread.run_sync(plane.admin.label, BLUE, {f"{selector}/policy": None})
        await until(pods, reports, ScenarioAnswer(200, upstream=Reached.WITH_ORIGINAL))
        await trio.to_thread.run_sync(plane.admin.label, BLUE, {f"{selector}/policy": "enabled"})
        await until(pods, reports, reports.expected)
        await trio.to_thread.run_sync(plane.admin.label, f"{BLUE}/configmaps/token-policy", {f"{selector}/enabled": None})
        await until(pods, reports, ScenarioAnswer(200, upstream=Reached.WITH_ORIGINAL))

        # Changed profiles, by an upgrade of the release; the kubelet brings the file.
        profiles = copy.deepcopy(released.values["issuerProfiles"])
        for profile in profiles["profiles"]:
            profile["bearerRealm"] = "another"
        await edited(pods, "/orders}\n    action: deny", f"/orders}}\n    {allowed}")
        await trio.to_thread.run_sync(lambda: released.upgrade(issuerProfiles=profiles))
        await trio.to_thread.run_sync(pods.kubelet.sync)
        expected = ScenarioAnswer(401, '{"error":"bearer_token_required"}', ('Bearer realm="another", scope="read:orders"',))
        await until(pods, challenged, expected)

        assert pods.service.pid == process
        assert await pods.run_hook() == 0


@pytest.mark.slow
async def test_the_console_is_for_the_pod_itself_and_follows_its_token(released: Released, tmp_path: Path) -> None:
    admin = released.plane.admin
    port = free_port()
    console = {"enabled": True, "port": port, "token": {"secretName": "console"}}

    async def asked(path: str, token: str = "", host: str = LOOPBACK) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", headers=headers, timeout=READY_S, trust_env=False) as client:
            return await client.get(path)

    async def until_answered(token: str, status: int) -> None:
        while True:
            if (await asked("/api/policy", token)).status_code == status:
                return
            await trio.sleep(POLL_S)

    await trio.to_thread.run_sync(admin.put_secret, SERVICE, "console", {"token": OLD_TOKEN})
    async with undone(released):
        await trio.to_thread.run_sync(lambda: released.upgrade(console=console))
        async with running(released, tmp_path) as pods:
            about = (await asked("/api/about", OLD_TOKEN)).json()
            assert about.items() >= {"version": __version__, "token_required": True, "policy_source": "kubernetes"}.items()
            assert (await asked("/api/about")).json()["version"] is None
            assert (await asked("/api/policy")).status_code == httpx.codes.UNAUTHORIZED
            namespaces = (await asked("/api/policy", OLD_TOKEN)).json()["namespaces"]
            assert {found["name"] for found in namespaces} >= {"team-blue", "team-yellow"}
            # Elsewhere nobody listens, where the port for checks does.
            with pytest.raises(httpx.ConnectError):
                await asked("/api/about", host=ELSEWHERE)
            await (await trio.open_tcp_stream(ELSEWHERE, pods.site.grpc_port)).aclose()

            await trio.to_thread.run_sync(admin.put_secret, SERVICE, "console", {"token": NEW_TOKEN})
            await trio.to_thread.run_sync(pods.kubelet.sync)
            with trio.fail_after(SEEN_S):
                await until_answered(NEW_TOKEN, httpx.codes.OK)
            assert (await asked("/api/policy", OLD_TOKEN)).status_code == httpx.codes.UNAUTHORIZED
        for token in (OLD_TOKEN, NEW_TOKEN):
            assert token not in pods.log


async def test_authors_learn_of_their_mistakes_by_events(released: Released, tmp_path: Path) -> None:
    async with running(released, tmp_path) as pods:
        await edited(pods, "action: deny", "action: dney")
        try:
            with trio.fail_after(SEEN_S):
                await until_told(pods, "InvalidPolicy")
        finally:
            await edited(pods, "action: dney", "action: deny")


async def until_told(pods: Running, reason: str) -> None:
    while True:
        found = await trio.to_thread.run_sync(pods.released.plane.admin.request, "GET", "/api/v1/namespaces/team-yellow/events")
        if reason in {event["reason"] for event in found["items"]}:
            return
        await trio.sleep(POLL_S)


async def test_the_pods_token_opens_what_it_needs_and_nothing_else(released: Released, tmp_path: Path) -> None:
    """The token is the one that lies in the pod, and the requests are those that a thief of it would make."""
    async with running(released, tmp_path) as pods:
        await until(pods, named("yellow-success"), named("yellow-success").expected)
        plane = pods.released.plane
        token = (tmp_path / SERVICE / "account" / "token").read_text()

        def status(method: str, path: str, body: object = None) -> int:
            return plane.admin.client.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"}).status_code

        def check() -> None:
            plane.admin.put_secret(DEMO, "somebody-elses", {"key": "value"})
            plane.admin.put_secret(SERVICE, "somebody-elses", {"key": "value"})
            account = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["sub"]
            assert account == f"system:serviceaccount:{SERVICE}:{SERVICE}"
            named_one = f"/api/v1/namespaces/{DEMO}/secrets?fieldSelector=metadata.name%3Dexchanger-demo-oauth"
            for path in (named_one, "/api/v1/configmaps", "/api/v1/namespaces"):
                assert status("GET", path) == httpx.codes.OK, path
            for method, path in (
                ("GET", OWN_SECRET),  # it lists and watches it, and that is all that it was given
                ("GET", f"/api/v1/namespaces/{DEMO}/secrets/somebody-elses"),
                ("GET", f"/api/v1/namespaces/{DEMO}/secrets?fieldSelector=metadata.name%3Dsomebody-elses"),
                ("GET", f"/api/v1/namespaces/{DEMO}/secrets"),
                ("GET", f"/api/v1/namespaces/{SERVICE}/secrets/somebody-elses"),
                ("GET", "/api/v1/secrets"),
                ("GET", "/api/v1/pods"),
                ("GET", YELLOW_POLICY),
                ("DELETE", OWN_SECRET),
                ("DELETE", YELLOW_POLICY),
                ("DELETE", "/api/v1/namespaces/team-yellow"),
            ):
                assert status(method, path) == httpx.codes.FORBIDDEN, (method, path)
            assert status("POST", f"/api/v1/namespaces/{SERVICE}/serviceaccounts/{SERVICE}/token", {}) == httpx.codes.FORBIDDEN

        await trio.to_thread.run_sync(check)


async def test_pod_without_the_secret_permission_is_not_ready_and_says_why(released: Released, tmp_path: Path) -> None:
    """That the rights are enough would show nothing if the service ran without them."""
    roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{DEMO}/rolebindings"
    admin = released.plane.admin
    (binding,) = (await trio.to_thread.run_sync(admin.request, "GET", roles))["items"]
    path = f"{roles}/{binding['metadata']['name']}"
    await trio.to_thread.run_sync(admin.delete, path)
    try:
        await trio.to_thread.run_sync(released.cluster.settle)
        async with running(released, tmp_path, ready=False) as pods:
            with trio.fail_after(READY_S):
                await until_logged(pods, "issuers.secret_problem")
            assert await pods.run_hook() == 1
            assert f"needs list and watch on secrets/exchanger-demo-oauth in the namespace {DEMO}" in pods.log
            refused = ScenarioAnswer(500, '{"error":"server_error","error_description":"internal server error"}')
            target = demo_target(pods.site)
            assert target.check(await target.send(named("unmatched").call, pods.site.subjects.valid)) == refused
    finally:
        with trio.CancelScope(shield=True):
            kept = {key: value for key, value in binding["metadata"].items() if key in {"name", "labels", "annotations"}}
            await trio.to_thread.run_sync(admin.put, roles, {**binding, "metadata": kept})


async def until_logged(pods: Running, event: str) -> None:
    while True:
        if event in pods.log:
            return
        await trio.sleep(POLL_S)
