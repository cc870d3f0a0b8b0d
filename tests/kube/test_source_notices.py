"""What a source says is probably a mistake, beside everything else that it is at."""

import pytest
import trio
from trio.testing import MockClock

from exchanger.kube.source import GATHER_S
from exchanger.values.notice import Notices
from tests.kube.cluster import Cluster, deny, following


@pytest.mark.parametrize("steps", range(0, 14, 2))
async def test_what_comes_to_wait_while_documents_are_handed_on_is_told(steps: int, autojump_clock: MockClock) -> None:
    cluster, told = Cluster(), list[Notices]()
    cluster.put_namespace("a")
    for number in range(1000):
        cluster.put("a", f"p{number}", deny(f"/{number}"))
    async with following(cluster) as followed:
        followed.source.on_notices = told.append
        followed.source.use_issuers(frozenset({"another"}))
        await trio.sleep(GATHER_S)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        cluster.put("b", "q")
        await trio.sleep(10.0)
        assert [notice.subject for notice in told[-1].listed] == ["ConfigMap b/q"]


async def test_what_goes_in_parts_is_counted_as_a_whole(autojump_clock: MockClock) -> None:
    cluster, told = Cluster(), list[Notices]()
    cluster.put_namespace("a")
    for number in range(3):
        cluster.put("a", f"p{number}", deny(f"/{number}"))
    async with following(cluster) as followed:
        followed.source.on_notices = told.append
        for number in range(3):
            cluster.delete("a", f"p{number}")
            await trio.sleep(10.0)
        (nothing,) = told[-1].listed
        assert "3 that were in force have gone" in nothing.text
        cluster.put("a", "p", deny())
        await trio.sleep(10.0)
        assert not told[-1].count
        cluster.delete("a", "p")
        await trio.sleep(10.0)
        (nothing,) = told[-1].listed
        assert "1 that were in force have gone" in nothing.text
