"""Law: events on different objects may come in any order; the documents in force in the end are the same.

Namespaces and ConfigMaps come over two connections, whose events are in order on each, and in no order between them.
"""

from hypothesis import given
from hypothesis import strategies as st

from tests.property.strategies_kube_index import DeleteConfigMap, DeleteNamespace, PutConfigMap, PutNamespace, Said, index, single, tell


def what(said: Said) -> tuple[str, ...]:
    """Return which object is spoken of."""
    match said:
        case PutNamespace(namespace):
            return (namespace.name,)
        case DeleteNamespace(name):
            return (name,)
        case PutConfigMap(config_map):
            return (config_map.namespace, config_map.name)
        case DeleteConfigMap(namespace, name):
            return (namespace, name)
        case _:
            raise AssertionError("no single object")


@given(st.lists(single, max_size=20), st.data())
def test_any_order_that_keeps_the_order_of_each_object_gives_the_same_documents(history: list[Said], data: st.DataObject) -> None:
    one, other = index(), index()
    for said in history:
        tell(said, one)
    queues: dict[tuple[str, ...], list[Said]] = {}
    for said in history:
        queues.setdefault(what(said), []).append(said)
    for turn in data.draw(st.permutations([what(said) for said in history])):
        tell(queues[turn].pop(0), other)
    assert one.documents() == other.documents()
    assert {changed.source: changed for changed in one.take()} == {changed.source: changed for changed in other.take()}
