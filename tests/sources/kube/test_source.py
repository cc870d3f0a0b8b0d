import math
import threading

import pytest
import trio
from trio.testing import MockClock

from exchanger.model.entry import Source
from exchanger.model.notice import Notices
from exchanger.policy import selection
from exchanger.policy.documents.document import PolicyDocument, parse_document
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.kube.informer import missing_right
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind
from exchanger.sources.kube.ungranted import STEP as GRANTS_STEP
from exchanger.sources.publish.pending import LIGHT_WORK, Lane
from tests.sources.kube.cluster import PATIENCE_S, REFUSED, SELECTED, Cluster, Record, deny, following, source
from tests.steps import MOST_CALLS, counted_steps

THREAD_S = 60.0


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.put_namespace("a")
    made.put("a", "p")
    return made


async def test_the_first_version_is_complete_when_it_has_started(cluster: Cluster, autojump_clock: MockClock) -> None:
    cluster.put_namespace("b", {})
    cluster.put("b", "p", deny("/b"))
    cluster.put("a", "unlabelled", deny("/c"), {})
    async with following(cluster) as followed:
        assert followed.record.denies("/a")
        assert followed.record.passes("/b")
        assert followed.record.passes("/c")
        assert len(followed.record.snapshots) == len(followed.record.changes) == 1
        assert (followed.source.is_connected, followed.source.snapshot_age()) == (True, 0.0)
        assert cluster.asked == ["namespaces policy in (enabled)", "configmaps enabled in (true) in all"]


@pytest.mark.parametrize("late", ["namespaces", "configmaps"])
async def test_nothing_is_published_before_every_list_is_complete(cluster: Cluster, autojump_clock: MockClock, late: str) -> None:
    cluster.server.fail(REFUSED, resource=late, times=math.inf)
    record = Record()
    followed = source(cluster, record)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(followed.run)
        await trio.sleep(60)
        cluster.put("a", "q", deny("/q"))
        cluster.put_namespace("b")
        await trio.sleep(60)
        assert any(said.startswith("listed") for said in record.said)
        assert record.snapshots == []
        assert followed.is_connected is False
        assert followed.snapshot_age() is None
        cluster.server.heal()
        await record.until(record.denies, 60)
        assert len(record.snapshots) == 1
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("obeys", [True, False], ids=["selected", "unselected"])
@pytest.mark.parametrize("namespaces", [(), ("a", "b")], ids=["by label", "by name"])
async def test_a_server_that_ignores_selectors_changes_nothing(
    cluster: Cluster, autojump_clock: MockClock, obeys: bool, namespaces: tuple[str, ...]
) -> None:
    cluster.obeys = obeys
    cluster.put_namespace("b")
    cluster.put("b", "p", deny("/b"))
    cluster.put("c", "p", deny("/c"))
    cluster.put("a", "unlabelled", deny("/unlabelled"), {})
    async with following(cluster, namespaces=namespaces) as followed:
        record = followed.record
        assert {request.resource for request in cluster.server.requests} == {"configmaps", *(() if namespaces else ("namespaces",))}
        cluster.server.cut(ApiFailure(FailureKind.GONE, 410))
        cluster.put("c", "q", deny("/c"))
        cluster.put("b", "q", deny("/q"))
        await record.until(lambda: record.denies("/q"), 60)
        assert [record.denies(path) for path in ("/a", "/b", "/c", "/unlabelled")] == [True, True, False, False]
        cluster.delete("c", "q")
        cluster.delete("b", "q")
        await record.until(lambda: record.passes("/q"), 1)
        assert record.snapshots[-1].document_count == 2


async def test_the_observer_learns_of_contact_and_of_a_store_that_went_back(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster) as followed:
        record = followed.record
        assert sorted(record.said) == [
            "connected configmaps",
            "connected namespaces",
            "listed 1 configmaps",
            "listed 1 namespaces",
            "publish",
        ]
        version = cluster.server.version
        cluster.put("a", "q", deny("/q"))
        await record.until(lambda: record.denies("/q"))
        cluster.server.restore(version)
        cluster.server.cut(REFUSED)
        await record.until(lambda: record.passes("/q"), 60)
        assert "went back configmaps" in record.said


async def test_a_fault_of_the_sink_is_a_fault_of_the_source(cluster: Cluster, autojump_clock: MockClock) -> None:
    class Broken(Record):
        def publish(self, snapshot: PolicySnapshot, /) -> None:
            raise RuntimeError

    with pytest.RaisesGroup(RuntimeError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(source(cluster, Broken()).run)
    assert cluster.server.watchers == []


CLUSTER = '{0} is forbidden: User "system:serviceaccount:x:y" cannot {1} resource "{0}" in API group "" at the cluster scope'


@pytest.mark.parametrize(
    ("resource", "namespace", "message", "right"),
    [
        ("namespaces", "", CLUSTER.format("namespaces", "list"), "needs list on namespaces"),
        ("configmaps", "", CLUSTER.format("configmaps", "watch"), "needs watch on configmaps in every namespace"),
        (
            "configmaps",
            "a",
            'User "u" cannot list resource "configmaps" in the namespace "a"',
            "needs list on configmaps in the namespace a",
        ),
        ("configmaps", "a", "", "needs list and watch on configmaps in the namespace a"),
        ("namespaces", "", "User cannot escalate resource", "needs list and watch on namespaces"),
    ],
)
def test_a_forbidden_request_names_the_right(resource: str, namespace: str, message: str, right: str) -> None:
    assert missing_right(resource, namespace, ApiFailure(FailureKind.FORBIDDEN, 403, message)) == right


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind is not FailureKind.FORBIDDEN])
def test_no_other_failure_is_about_rights(kind: FailureKind) -> None:
    assert missing_right("configmaps", "", ApiFailure(kind, 401, CLUSTER.format("configmaps", "list"))) == ""


def granting(hosts: str) -> Grants:
    found = read_grants(f"version: v1\ngrants: [{{namespaceSelector: policy, hosts: [h, {hosts}]}}]", has_labels=True)
    assert isinstance(found, Grants)
    return found


async def test_grants_that_give_nothing_are_noticed_and_notices_follow_labels_and_grants(autojump_clock: MockClock) -> None:
    cluster, record, told = Cluster(), Record(), list[Notices]()
    cluster.put_namespace("a", {**SELECTED, "team": "x"})
    names = [f"b{number:02}" for number in range(2 * GRANTS_STEP + 1)]
    for name in names:
        cluster.put_namespace(name)
    cluster.put("a", "p")
    followed = source(cluster, record, grants=granting('"{label:team}.example.com"'))
    followed.on_notices = told.append

    def counted() -> int:
        return sum(notice.subject.startswith("Namespace") for notice in told[-1].listed) + told[-1].more

    async with trio.open_nursery() as nursery:
        await nursery.start(followed.run)
        await trio.sleep(10.0)
        assert counted() == len(names)
        assert "host {label:team}.example.com" in told[-1].listed[0].text
        cluster.put_namespace("b00", {**SELECTED, "team": "x"})
        await trio.sleep(10.0)
        assert counted() == len(names) - 1
        cluster.delete_namespace("b01")
        await trio.sleep(10.0)
        assert counted() == len(names) - 2
        followed.use_grants(granting("'{namespace}.example.com'"))
        await trio.sleep(10.0)
        assert counted() == 0
        nursery.cancel_scope.cancel()


async def test_a_namespace_with_many_documents_goes_in_one_version(cluster: Cluster, autojump_clock: MockClock) -> None:
    count = 2000
    for number in range(count):
        cluster.put("a", f"p{number}", deny(f"/{number}") if number < 100 else "version: v1\nentries: []\n")
    cluster.put_namespace("b")
    cluster.put("b", "p", deny("/b"))
    async with following(cluster) as followed:
        record = followed.record
        await trio.sleep(10)
        before = len(record.snapshots)
        with counted_steps() as steps:
            cluster.put_namespace("a", {"policy": "disabled"})
            await record.until(record.passes, 2)
            await trio.sleep(60)
        assert {snapshot.document_count for snapshot in record.snapshots[before:]} == {1}
        assert len(record.changes[-1].removed) == count + 1
        assert record.denies("/b")
        assert max(steps.most.values()) < MOST_CALLS, steps.most


async def test_cancellation_does_not_wait_for_the_thread_which_ends_with_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed, reached, opened = list[Source](), threading.Event(), threading.Event()

    def parse(source: Source, text: str | None, issuers: frozenset[str]) -> PolicyDocument:
        parsed.append(source)
        reached.set()
        assert opened.wait(THREAD_S)
        return parse_document(source, text, issuers)

    monkeypatch.setattr(selection, "parse_document", parse)
    cluster = Cluster()
    cluster.put_namespace("a")
    for number in range(10):
        cluster.put("a", f"p{number}", deny(f"/{number}") + " " * LIGHT_WORK)
    record = Record(trio.to_thread.run_sync)
    followed = source(cluster, record)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(followed.run)
        assert await trio.to_thread.run_sync(reached.wait, THREAD_S)
        nursery.cancel_scope.cancel()
    assert cluster.server.watchers == []
    limiter = followed.runner.limiters[Lane.HEAVY.value]
    assert limiter.borrowed_tokens == 1
    opened.set()
    with trio.fail_after(PATIENCE_S):
        await limiter.acquire()  # its turn comes when the thread has ended
    assert (record.snapshots, len(parsed)) == ([], 1)
