"""What a version leaves behind is freed in slices."""

import gc
from collections.abc import Iterator
from weakref import ReferenceType, ref

import attrs
import pytest

from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.leftovers import SLICE, Leftovers
from exchanger.policy.snapshot import PolicySnapshot
from tests.policy.examples import BLUE, HOST, RED, deny, exchange

COUNT = 2_000


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    """Free objects only with their last reference, as the service does between two collections."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def version() -> PolicySnapshot:
    document = PolicyDocument(RED, tuple(deny(f"/{index}%41", index=index) for index in range(COUNT)))
    beside = PolicyDocument(BLUE, (exchange("/beside", source=BLUE),))
    return PolicySnapshot.EMPTY.changed({RED: document, BLUE: beside})


def test_at_most_a_slice_is_freed_at_a_time() -> None:
    before = version()
    document = before.document(RED)
    assert document is not None
    parts: list[ReferenceType[object]] = [ref(entry) for entry in document.document.entries]
    parts += [ref(level) for nodes in before.hosts.by_name[HOST].exact.nodes for level in nodes if level.routes[0].effect.source == RED]
    after = before.changed({RED: None})
    leftovers = Leftovers.of(before, [RED])
    del before, document
    assert len(parts) >= 2 * COUNT
    assert all(one() is not None for one in parts)  # whoever dropped the version freed none of them
    freed = slices = 0
    while leftovers.free():
        gone = sum(one() is None for one in parts)
        assert gone - freed <= SLICE
        freed, slices = gone, slices + 1
    assert slices > COUNT // SLICE
    assert all(one() is None for one in parts)
    assert after.match(HOST, "/beside", "GET") == exchange("/beside", source=BLUE)


def test_nothing_is_freed_while_a_request_has_the_version() -> None:
    before = version()
    leftovers = Leftovers.of(before, [RED])
    assert leftovers.free()
    assert leftovers.free()
    held = attrs.evolve(before)
    first = ref(held.hosts.by_name[HOST].exact.nodes[0][0])
    del before
    while leftovers.free():
        pass
    assert first() is not None


def test_a_source_without_a_document_leaves_nothing() -> None:
    assert not Leftovers.of(PolicySnapshot.EMPTY, [RED]).free()
