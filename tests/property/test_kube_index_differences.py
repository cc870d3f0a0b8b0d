"""Law: whenever differences are taken, and however they are cut, the version that they lead to is the one made from nothing.

What is given back counts as never taken. A document that is the same before and after is in no difference, so that it costs no parsing.
"""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.kube.index import Changed, Difference
from exchanger.policy.selection import Text, advance
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Source
from tests.property.strategies_kube_index import Said, histories, index, tell

# What happens between what the server says: nothing, a version is made, or one is begun and dropped.
turns = st.sampled_from(["", "", "take", "give back"])


@given(histories, st.data(), st.sampled_from([1, 600, 1_000_000]))
def test_differences_lead_to_the_version_from_nothing(history: list[Said], data: st.DataObject, work: int) -> None:
    made, snapshot = index(), PolicySnapshot.EMPTY
    shown: dict[Source, Text] = {}
    begun: Difference | None = None
    for said in history:
        tell(said, made)
        if begun is not None:  # what was said since then came while the version was being made
            made.give_back(begun)
            begun = None
        turn = data.draw(turns)
        if turn == "give back":
            begun = made.take()
        elif turn == "take":
            difference = made.take()
            now = made.documents()
            assert difference.documents == tuple(
                Changed(changed.source, shown.get(changed.source), now.get(changed.source)) for changed in difference.documents
            )
            assert {changed.source for changed in difference.documents} == {
                source for source in {*shown, *now} if shown.get(source) != now.get(source)
            }
            shown = now
            for part in difference.parts(work):
                snapshot = part.advance(snapshot, frozenset()).snapshot
            assert snapshot == advance(PolicySnapshot.EMPTY, {}, now, frozenset()).snapshot
            assert not made.changed
