"""Laws of what waits: turns are fair between namespaces, the newest text wins, and nothing is removed before what came earlier."""

from hypothesis import event, given, settings
from hypothesis import strategies as st

from exchanger.model.entry import Source
from exchanger.policy.selection import DocumentText, Text
from exchanger.sources.publish.pending import CHANGE_WORK, LIGHT_WORK, Lane, Pending
from tests.examples import examples

# Law: a text waits for no more characters of another namespace than it has itself, and one text on top.
#
# Whatever that namespace has waiting, and puts meanwhile, and however much the text's own namespace had read before. Its own texts that
# still wait, and the last one that was taken, count as its own characters. Texts that are only read again are a flow of their own.


works = st.integers(CHANGE_WORK, 20 * LIGHT_WORK)


@settings(max_examples=examples(200))
@given(st.lists(st.none() | st.tuples(st.sampled_from("abg"), works, st.booleans()), min_size=10, max_size=80), works, st.data())
def test_a_text_waits_for_at_most_its_own_size_of_another_namespace(
    history: list[tuple[str, int, bool] | None], work: int, data: st.DataObject
) -> None:
    pending, good = Pending(), Source("g", "p")
    lane, most = (Lane.LIGHT, LIGHT_WORK) if work <= LIGHT_WORK else (Lane.HEAVY, 20 * LIGHT_WORK)
    began = data.draw(st.integers(0, len(history) - 1))
    read, own, allowed = dict[tuple[str, bool], int](), dict[Source, int](), 0
    again = set[Source]()
    taken: dict[Source, DocumentText] = {}
    for number, step in enumerate([*history, *[None] * len(history)]):
        if number == began:
            pending.put(good, Text("x" * (work - CHANGE_WORK)))
            read, allowed = {}, work + sum(own.values()) + 2 * most
        if step is not None and not (step[0] == "g" and number >= began and not step[2]):
            source = Source(step[0], f"p{number}")
            pending.put(source, Text("x" * (step[1] - CHANGE_WORK)), again=step[2])
            again.update({source} if step[2] else ())
            own.update({source: step[1]} if step[0] == "g" and not step[2] else {})
            continue
        taken = pending.take(lane)
        if good in taken:
            break
        for source, text in taken.items():
            assert isinstance(text, Text)
            flow = source.namespace, source in again
            read[flow] = read.get(flow, 0) + CHANGE_WORK + len(text.text or "")
            own.pop(source, None)
        pending.done(taken)
    assert good in taken
    event(f"flows {len(read)}")
    assert all(characters <= allowed for characters in read.values())


# Law: the newest text or removal of each source is what counts in the end, and a removal comes after all earlier texts of its namespace.
#
# Except after those that are removed themselves. Nothing is lost, and nothing is left.


sources = st.builds(Source, st.sampled_from("ab"), st.sampled_from("pqr"))
texts = st.none() | st.integers(0, 3).map(lambda number: Text(f"{number}" * number * LIGHT_WORK))
steps = st.one_of(
    st.tuples(st.just("put"), sources, texts),
    st.tuples(st.just("put"), sources, texts),
    st.tuples(st.just("take"), st.sampled_from(Lane), st.none()),
    st.tuples(st.just("done"), st.sampled_from(Lane), st.none()),
    st.tuples(st.just("remove"), st.sampled_from(Lane), st.none()),
)


class Reader:
    """Applies what pending says, and knows what was put since."""

    def __init__(self) -> None:
        self.pending = Pending()
        self.taken: dict[Lane, dict[Source, DocumentText]] = {}
        self.wanted: dict[Source, tuple[int, DocumentText | None]] = {}
        self.documents: dict[Source, DocumentText] = {}
        # The texts that have not been read, by source: the numbers of their changes. By lane, the last change when texts were taken.
        self.unread: dict[Source, list[int]] = {}
        self.taken_at: dict[Lane, int] = {}
        # The oldest of those that were removed, or of removals that were replaced, until there is a newer document or none.
        self.removed: dict[Source, int] = {}
        # The removals that wait.
        self.removals: dict[Source, int] = {}
        self.number = 0

    def put(self, source: Source, text: DocumentText | None) -> None:
        self.number += 1
        self.wanted[source] = self.number, text
        if source in self.removals:
            self.removed.setdefault(source, self.removals.pop(source))
        if text is None:
            self.removals[source] = self.number
            for number in self.unread.pop(source, []):
                self.removed.setdefault(source, number)
        else:
            self.unread.setdefault(source, []).append(self.number)
        self.pending.put(source, text)

    def take(self, lane: Lane) -> None:
        if lane not in self.taken:
            self.taken[lane], self.taken_at[lane] = self.pending.take(lane), self.number

    def done(self, lane: Lane) -> None:
        taken = self.taken.pop(lane, {})
        for source in self.pending.done(taken):
            self.documents[source] = taken[source]
            self.removed.pop(source, None)
            self.unread[source] = [number for number in self.unread[source] if number > self.taken_at[lane]]
            if not self.unread[source]:
                del self.unread[source]

    def check(self, number: int, excused: list[str]) -> None:
        """See that what is unread is what was put and not read."""
        oldest = {source: numbers[0] for source, numbers in self.unread.items()}
        waited_for = [one for source, one in (*oldest.items(), *self.removed.items()) if source.namespace not in excused]
        assert self.pending.is_read_until(number, excused) is all(one > number for one in waited_for)
        for namespace in "ab":
            unread = {source for source in oldest if source.namespace == namespace}
            assert self.pending.unread_in(namespace, self.number).keys() == unread
            until = self.pending.unread_in(namespace, number).keys()
            assert {source for source in unread if oldest[source] <= number} <= until <= unread

    def remove(self) -> None:
        removals = self.pending.take_removals()
        for source in removals:
            number, text = self.wanted[source]
            assert text is None
            earlier = [other for other, numbers in self.unread.items() if other.namespace == source.namespace and numbers[0] < number]
            assert not earlier, "an entry that moved here is not read yet"
            self.documents.pop(source, None)
            self.removed.pop(source, None)
            del self.removals[source]
        blocked = self.pending.take_blocked().keys()
        assert not blocked & removals.keys()
        assert all(self.wanted[source][1] is None for source in blocked)


@settings(max_examples=examples(200))
@given(st.lists(steps, max_size=40), st.integers(0, 20), st.sampled_from([[], ["a"]]))
def test_the_newest_text_of_each_source_counts_in_the_end(
    history: list[tuple[str, Source | Lane, DocumentText | None]], number: int, excused: list[str]
) -> None:
    reader = Reader()
    for what, subject, text in history:
        if isinstance(subject, Source):
            reader.put(subject, text)
        elif what == "take":
            reader.take(subject)
        elif what == "done":
            reader.done(subject)
        else:
            reader.remove()
        reader.check(number, excused)
        assert len(reader.pending) == 0 or not reader.pending.is_read or any(reader.taken.values())
    for _ in range(3 * len(history) + 1):
        for lane in Lane:
            reader.take(lane)
            reader.done(lane)
        reader.remove()
    assert (len(reader.pending), reader.pending.is_read) == (0, True)
    assert reader.documents == {source: text for source, (_, text) in reader.wanted.items() if text is not None}
