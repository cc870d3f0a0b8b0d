"""Chaos in the cluster itself: a server that ends or is paused, rights and tokens that are withdrawn, a store that forgets or goes back."""

from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest
import trio

from exchanger.kube.api.connection import ConnectionBounds
from exchanger.kube.settings import COMPARE_S
from tests.kube.admin import READ_POLICY, Admin
from tests.kube.chaos import BEFORE, BOUNDS, SEEN_S, change, chaos, prepared, set_up
from tests.kube.cluster import deny
from tests.kube.control_plane import ControlPlane
from tests.kube.fault_proxy import Pass, Refuse

pytestmark = pytest.mark.kubernetes

# Writes: more than a restart and all changes of a test make together.
MANY: Final = 100


@pytest.fixture
def cluster(control_plane: ControlPlane) -> Generator[ControlPlane]:
    yield from prepared(control_plane)


@pytest.mark.parametrize("signal", ["killed", "terminated"])
async def test_the_server_is_restarted(cluster: ControlPlane, signal: str) -> None:
    """Nobody can edit while it is away; the first edits come as soon as it is back, whatever the source is at then."""
    async with chaos(cluster, direct=True) as test:
        await trio.to_thread.run_sync(cluster.kill_apiserver if signal == "killed" else cluster.stop_apiserver)
        await test.until_failed(2, "unreachable")
        assert test.in_force() == BEFORE
        await trio.to_thread.run_sync(cluster.start_apiserver)
        await test.do(change)
        await test.until_fresh()
        await test.until_seen("lost configmaps", "lost namespaces")
        lost = test.record.said.index("lost configmaps")
        # A list may be in force for a while before the server takes a watch.
        await test.record.until(lambda: "connected configmaps" in test.record.said[lost:], SEEN_S)


@pytest.mark.parametrize("signal", ["killed", "terminated"])
async def test_the_server_is_restarted_and_the_policy_edited_before_it_is_seen_again(cluster: ControlPlane, signal: str) -> None:
    """The new server has none of the history that the source goes on from, but for what its store has."""
    async with chaos(cluster) as test:
        await trio.to_thread.run_sync(cluster.kill_apiserver if signal == "killed" else cluster.stop_apiserver)
        await test.until_failed(1)
        test.proxy.become(Refuse())
        await trio.to_thread.run_sync(cluster.start_apiserver)
        await test.do(change)
        await test.until_failed(3, "unreachable")
        assert test.in_force() == BEFORE
        test.proxy.become(Pass())
        await test.until_fresh()


async def test_the_server_is_paused_for_longer_than_a_request_may_take(cluster: ControlPlane) -> None:
    async with chaos(cluster, direct=True) as test:
        began = trio.current_time()
        cluster.pause_apiserver()
        try:
            async with trio.open_nursery() as nursery:
                await test.until_failed(2, "timeout")
                # The first of these reaches the server's kernel now, and the server when it goes on.
                nursery.start_soon(test.do, change)
                await trio.sleep_until(max(trio.current_time(), began + 2 * BOUNDS.call))
                assert test.in_force() == BEFORE
                cluster.resume_apiserver()
        finally:
            cluster.resume_apiserver()
        await test.until_fresh()


async def test_rights_are_withdrawn_and_given_back(cluster: ControlPlane) -> None:
    admin = cluster.admin
    token = admin.put_service_account("chaos", READ_POLICY, "chaos")
    subject = {"kind": "ServiceAccount", "name": "chaos", "namespace": "chaos"}
    async with chaos(cluster, user=f"token: {token}") as test:
        await test.do(lambda admin: admin.withdraw("chaos"))
        # The server learns of rights by watches of its own, and a watch that is open needs none.
        with trio.fail_after(SEEN_S):
            while not any("forbidden" in said for said in test.record.said):
                test.proxy.disconnect()
                await trio.sleep(0.2)
        test.proxy.disconnect()
        await test.until_failed(2, "forbidden")
        await test.do(change)
        assert test.in_force() == BEFORE
        assert "needs list on configmaps in every namespace" in test.record.rights
        await test.do(lambda admin: admin.grant("chaos", subject, READ_POLICY))
        await test.until_fresh()
    admin.withdraw("chaos")


async def test_a_token_is_withdrawn_and_replaced(cluster: ControlPlane, tmp_path: Path) -> None:
    admin, file = cluster.admin, tmp_path / "token"
    file.write_text(admin.put_service_account("chaos", READ_POLICY, "chaos"))
    async with chaos(cluster, user=f"tokenFile: {file}") as test:
        tokens: list[str] = []
        await test.do(lambda admin: tokens.append(admin.replace_service_account("chaos", "chaos")))
        with trio.fail_after(SEEN_S):
            while not any("unauthorized" in said for said in test.record.said):
                test.proxy.disconnect()
                await trio.sleep(0.5)
        test.proxy.disconnect()
        await test.until_failed(2, "unauthorized")
        await test.do(change)
        assert test.in_force() == BEFORE
        file.write_text(tokens[0])
        await test.until_fresh()
        assert test.connection.credentials.renewals > 0
        assert not any(token in said for said in test.record.said for token in tokens)
    admin.withdraw("chaos")


def write(admin: Admin, times: int) -> None:
    """Have the version grow by ``times``; what is written last is a policy that no restored store knows."""
    for number in range(times - 1):
        admin.merge("/api/v1/namespaces/chaos/configmaps/always", {"metadata": {"annotations": {"number": str(number)}}})
    admin.put_config_map("chaos", "ghost", deny("/ghost"))


async def test_history_is_compacted(cluster: ControlPlane) -> None:
    def compact() -> None:
        change(cluster.admin)
        cluster.compact()
        cluster.restart_apiserver()  # its cache knows no more than the store does now

    async with chaos(cluster) as test:
        test.proxy.become(Refuse())
        await trio.to_thread.run_sync(compact)
        assert test.in_force() == BEFORE
        test.proxy.become(Pass())
        await test.until_fresh()
        assert any(said.endswith("gone") for said in test.record.said)


@pytest.mark.parametrize("cache", [True, False], ids=["with a cache", "without a cache"])
async def test_history_is_compacted_while_it_is_followed(cluster: ControlPlane, cache: bool) -> None:
    """A watch that is open goes on; the next one has no place to go on from where the server has no history of its own."""

    def move_on() -> None:
        for number in range(10):  # nothing that the source hears of
            cluster.admin.put_secret("chaos", "unrelated", {"number": str(number)})
        cluster.compact()

    if not cache:
        cluster.restart_apiserver("--watch-cache=false")
    try:
        async with chaos(cluster, bounds=ConnectionBounds()) as test:  # nothing but what the test does may break a watch
            await trio.to_thread.run_sync(cluster.compact)
            await test.do(change)
            await test.until_fresh()
            assert not any(said.startswith(("failed", "lost")) for said in test.record.said)
            await trio.to_thread.run_sync(move_on)
            test.proxy.disconnect()
            await test.do(lambda admin: admin.put_config_map("chaos", "more", deny("/more")))
            await test.record.until(lambda: test.record.denies("/more"), SEEN_S)
            assert any(said == "failed configmaps: gone" for said in test.record.said) is not cache
    finally:
        if not cache:
            cluster.restart_apiserver()


async def test_the_store_is_emptied_while_it_is_followed(cluster: ControlPlane) -> None:
    """It says then that there is no policy, and nothing is in force; until it has said so all of it is."""
    async with chaos(cluster) as test:
        await test.do(lambda admin: write(admin, MANY))
        await test.record.until(lambda: test.record.denies("/ghost"), SEEN_S)
        await trio.to_thread.run_sync(cluster.kill_apiserver)
        await test.until_failed(2)
        assert test.in_force() == (*BEFORE[:2], "/ghost", *BEFORE[2:])
        test.emptied = True
        await trio.to_thread.run_sync(cluster.wipe)
        await test.record.until(lambda: not test.record.snapshots[-1].documents, SEEN_S)
        await test.do(set_up)
        await test.do(change)
        await test.until_fresh()
        await test.until_seen("went back configmaps", "went back namespaces")


async def test_the_store_is_restored_while_it_is_followed(cluster: ControlPlane) -> None:
    async with chaos(cluster) as test:
        snapshot = await trio.to_thread.run_sync(cluster.snapshot, "snapshot-followed")
        await test.do(lambda admin: write(admin, MANY))
        await test.record.until(lambda: test.record.denies("/ghost"), SEEN_S)
        await trio.to_thread.run_sync(cluster.restore, snapshot)
        await test.do(change)
        await test.until_fresh()
        await test.until_seen("went back configmaps")  # of Namespaces nothing later is known than what was restored


async def test_the_store_is_emptied_and_filled_again(cluster: ControlPlane) -> None:
    def refill() -> None:
        cluster.wipe()
        set_up(cluster.admin)
        change(cluster.admin)

    async with chaos(cluster) as test:
        await test.do(lambda admin: write(admin, MANY))
        await test.record.until(lambda: test.record.denies("/ghost"), SEEN_S)
        test.proxy.become(Refuse())  # the denial is away for a moment, which nobody is to see
        await trio.to_thread.run_sync(refill)
        assert test.record.denies("/ghost")
        test.proxy.become(Pass())
        await test.until_fresh()
        assert any(said.startswith("went back") for said in test.record.said)


@pytest.mark.parametrize(("seen", "compare"), [(MANY, COMPARE_S), (1, 2.0)], ids=["lower version", "higher version"])
async def test_the_store_is_restored(cluster: ControlPlane, seen: int, compare: float) -> None:
    """A lower version is noticed at once, and one that has become higher again by the comparison."""

    def restore() -> None:
        cluster.restore(snapshot)
        change(cluster.admin)

    async with chaos(cluster, compare=compare) as test:
        snapshot = await trio.to_thread.run_sync(cluster.snapshot, f"snapshot-{seen}")
        await test.do(lambda admin: write(admin, seen))
        await test.record.until(lambda: test.record.denies("/ghost"), SEEN_S)
        test.proxy.become(Refuse())
        await trio.to_thread.run_sync(restore)
        assert test.record.denies("/ghost")
        test.proxy.become(Pass())
        await test.until_fresh()
        assert any(said.startswith("went back") for said in test.record.said) is (seen == MANY)
