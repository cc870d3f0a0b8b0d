"""What requests cost, counted in look-ups, whatever the machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import attrs
from exchanger.policy.policy_trie import Cell
from exchanger.policy.trie import PrefixTrie, Steps

from exchanger.policy.headers import HeaderTable, RequestHeaders


@attrs.define
class Counted:
    """Walks without a bound, prefixes at which something was looked up, and tables of headers that were asked, with their rows."""

    walks: int = 0
    prefixes: int = 0
    tables: int = 0
    rows: int = 0


@contextmanager
def counting() -> Iterator[Counted]:
    counted = Counted()
    prefixes_of, prefixes_within, is_doubtful = PrefixTrie.prefixes_of, PrefixTrie.prefixes_within, HeaderTable.is_doubtful

    def counted_prefixes(trie: PrefixTrie[Cell], text: str) -> list[Cell]:
        found = prefixes_of(trie, text)
        counted.walks += 1
        counted.prefixes += len(found)
        return found

    def counted_within(trie: PrefixTrie[Cell], text: str, steps: Steps) -> list[Cell] | None:
        found = prefixes_within(trie, text, steps)
        counted.prefixes += len(found or ())
        return found

    def counted_rows(table: HeaderTable, method: str, request: RequestHeaders) -> bool:
        counted.tables += 1
        counted.rows += len(table.named)
        return is_doubtful(table, method, request)

    with (
        mock.patch.object(PrefixTrie, "prefixes_of", counted_prefixes),
        mock.patch.object(PrefixTrie, "prefixes_within", counted_within),
        mock.patch.object(HeaderTable, "is_doubtful", counted_rows),
    ):
        yield counted
