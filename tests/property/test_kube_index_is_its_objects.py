"""Law: after anything that a server may say, the documents in force are those that a look at all of its objects finds, and no others.

So a Namespace that is not selected never has a document in force, one that becomes selected has all of its documents at once, a relist is
the same as the events that it stands for, and the way by which a state was reached does not show.
"""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.policy.selection import select
from exchanger.values.selector import parse_selector
from tests.property.strategies_kube_index import CONFIG_MAP_SELECTOR, SELECTORS, Cluster, Said, histories, index, tell


@given(st.sampled_from(SELECTORS), histories)
def test_the_index_is_what_a_look_at_all_objects_finds(selector: str, history: list[Said]) -> None:
    made, cluster = index(selector), Cluster()
    for said in history:
        tell(said, made)
        cluster.after(said)
        found = select(cluster.objects(), parse_selector(selector), parse_selector(CONFIG_MAP_SELECTOR))
        assert made.documents() == found
        assert made.waiting_count() == len(list(made.waiting()))
        assert {source.namespace for source in found} <= cluster.namespaces.keys()
