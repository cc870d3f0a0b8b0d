"""Operators learn which items of the grants give nothing to a Namespace, and when that is over."""

import trio
from trio.testing import MockClock

from exchanger.kube.source import GRANTS_STEP
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.values.notice import Notices
from tests.kube.cluster import SELECTED, Cluster, Record, source

LATER_S = 10.0


def grants(hosts: str) -> Grants:
    found = read_grants(f"version: v1\ngrants: [{{namespaceSelector: policy, hosts: [h, {hosts}]}}]", has_labels=True)
    assert isinstance(found, Grants)
    return found


async def test_notices_follow_labels_and_grants(autojump_clock: MockClock) -> None:
    cluster, record, told = Cluster(), Record(), list[Notices]()
    cluster.put_namespace("a", {**SELECTED, "team": "x"})
    names = [f"b{number:02}" for number in range(2 * GRANTS_STEP + 1)]
    for name in names:
        cluster.put_namespace(name)
    cluster.put("a", "p")
    followed = source(cluster, record, grants=grants('"{label:team}.example.com"'))
    followed.on_notices = told.append

    def counted() -> int:
        return sum(notice.subject.startswith("Namespace") for notice in told[-1].listed) + told[-1].more

    async with trio.open_nursery() as nursery:
        await nursery.start(followed.run)
        await trio.sleep(LATER_S)
        assert counted() == len(names)
        assert "host {label:team}.example.com" in told[-1].listed[0].text
        cluster.put_namespace("b00", {**SELECTED, "team": "x"})
        await trio.sleep(LATER_S)
        assert counted() == len(names) - 1
        cluster.delete_namespace("b01")
        await trio.sleep(LATER_S)
        assert counted() == len(names) - 2
        followed.use_grants(grants("'{namespace}.example.com'"))
        await trio.sleep(LATER_S)
        assert counted() == 0
        nursery.cancel_scope.cancel()
