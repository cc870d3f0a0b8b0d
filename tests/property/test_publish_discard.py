"""Law of what a new version replaces: a thread frees the parts of replaced namespaces piece by piece."""

import sys
import weakref
from collections.abc import Iterable, Iterator

from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.model.entry import Source
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.namespace import Changes
from exchanger.policy.selection import DocumentText, UnknownText, read
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.publish.discard import _pieces_of, discard
from tests.sources.publish.world import ALLOW, DENY, EXCHANGE, FREE, ISSUERS, fresh, text_of

SOURCES = [Source(namespace, name) for namespace in "abc" for name in "pq"]
ENTRIES = [DENY % "/x", ALLOW % "/y", EXCHANGE % "/z", "{match: {host: other, pathPrefix: /}, action: deny}", "{}"]
texts: st.SearchStrategy[DocumentText] = st.one_of(
    st.lists(st.sampled_from(ENTRIES), unique=True, max_size=3).map(lambda entries: text_of(*entries)),
    st.just(UnknownText("unreadable")),
)


def parts_of(version: PolicySnapshot, names: Iterable[str]) -> Iterator[tuple[object, object]]:
    """Yield each part of these namespaces of ``version`` and of their hosts that costs time to free, with what it belongs to."""
    for name in names:
        namespace = version.namespaces[name]
        for host, routes in namespace.routes.items():
            yield routes, namespace
            there = version.hosts.every if host is None else version.hosts.by_name.get(host)
            assert there is not None
            for trie in (there.exact, there.folded):
                yield trie, there
                for levels in trie.nodes:
                    yield levels, trie
        for effective in namespace.documents.values():
            yield effective, namespace
            yield effective.document, effective
            for part in (*effective.document.entries, *effective.document.closed_scopes):
                yield part, effective.document


@given(st.dictionaries(st.sampled_from(SOURCES), texts), st.dictionaries(st.sampled_from(SOURCES), texts | st.none()))
def test_what_two_versions_do_not_share_is_freed_in_pieces_parts_first(
    before: dict[Source, DocumentText], changes: dict[Source, DocumentText | None]
) -> None:
    old = fresh(before, grants=FREE)
    put = fresh({source: text for source, text in changes.items() if text is not None}, grants=FREE)
    new = old.changed({source: None if text is None else _document(put, source) for source, text in changes.items()})
    pieces = list(_pieces_of(old, new))
    place = {id(piece): number for number, piece in reversed(list(enumerate(pieces)))}
    kept = {id(one) for pair in parts_of(new, new.namespaces) for one in pair}
    replaced = [name for name, namespace in old.namespaces.items() if new.namespaces.get(name) is not namespace]
    gone = [(part, owner) for part, owner in parts_of(old, replaced) if id(part) not in kept]
    event(f"parts that go {min(len(gone), 40) // 10 * 10}")
    for part, owner in gone:
        assert id(part) in place, f"{part} is freed with the version"
        assert id(owner) in kept or place[id(part)] < place[id(owner)]
    assert not any(id(own) in place for name, own in old.namespaces.items() if name not in replaced)
    assert not any(id(there) in place for there in new.hosts.by_name.values())


def test_a_document_is_freed_before_its_parts_and_within_the_call() -> None:
    """Freed when the call returns, it would take all of its parts with it."""
    freed: list[str] = []
    document = read(SOURCES[0], text_of(*ENTRIES), ISSUERS)
    watched = [weakref.ref(one, lambda _: freed.append(sys._getframe(1).f_code.co_name)) for one in (document, *document.closed_scopes)]
    documents: list[Changes] = [{SOURCES[0]: document}]
    del document
    discard([], documents)
    assert freed == [discard.__name__] * len(watched)


def _document(version: PolicySnapshot, source: Source) -> PolicyDocument:
    effective = version.document(source)
    assert effective is not None
    return effective.document
