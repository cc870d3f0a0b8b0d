"""Compares versions of the policy by what they contain, whatever their history."""

from exchanger.policy.snapshot import PolicySnapshot
from exchanger.policy.table import VirtualHost


def content(snapshot: PolicySnapshot) -> object:
    """Return all that makes a difference to requests or to people, in a form that can be compared."""
    hosts: dict[str | None, VirtualHost | None] = {None: snapshot.hosts.every, **dict(snapshot.hosts.by_name.items())}
    documents = {
        one.source: (one.document, one.text, one.entries, one.problems, one.refused, one.is_over_quota) for one in snapshot.documents()
    }
    counts = (snapshot.document_count, snapshot.entry_count, snapshot.invalid_documents, snapshot.refused_count)
    return documents, counts, {name: _routes(there) for name, there in hosts.items() if there is not None}, snapshot.baseline


def _routes(there: VirtualHost) -> object:
    counts = (there.with_methods, there.with_headers, there.yielding)
    levels = [
        {
            prefix: {level.place: frozenset(level.routes) for level in levels}
            for prefix, levels in zip(trie.prefixes, trie.nodes, strict=True)
        }
        for trie in (there.exact, there.folded)
    ]
    return counts, levels, dict(zip(there.hidden.prefixes, map(frozenset, there.hidden.nodes), strict=True))
