"""Law: whenever differences are taken, and in however small parts, whoever keeps what they say knows the documents in force.

A document that is the same before and after is in no difference, so that it costs no reading, unless all are to be read again.
"""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.policy.selection import Document
from exchanger.values.entry import Source
from tests.property.strategies_kube_index import Said, histories, index, tell

# What happens between what the server says: nothing, a part is taken, everything is, or all documents are to be read again.
turns = st.sampled_from(["", "", "part", "all", "again"])


@given(histories, st.data())
def test_differences_are_what_changed(history: list[Said], data: st.DataObject) -> None:
    made = index()
    shown: dict[Source, Document] = {}
    again: set[Source] = set()
    for said in history:
        tell(said, made)
        turn = data.draw(turns)
        if turn == "again":
            made.refresh()
            again = set(made.documents())
        if turn in {"part", "all"}:
            for changed in made.take(1) if turn == "part" else made.take():
                assert changed.before == shown.get(changed.source) or changed.source in again
                assert changed.before != changed.after or changed.source in again
                shown.pop(changed.source, None)
                if changed.after is not None:
                    shown[changed.source] = changed.after
        if turn == "all":
            assert shown == made.documents()
            assert not made.changed
            again = set()
