"""What requests cost, counted in look-ups, whatever the machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar
from unittest import mock

import attrs

from exchanger.policy.headers import RequestHeaders
from exchanger.policy.table import Level
from exchanger.policy.trie import PathTrie

N = TypeVar("N")


@attrs.define
class Counted:
    """Look-ups in path tries, the levels that they found, and the header names that were looked for among a request's."""

    walks: int = 0
    levels: int = 0
    headers: int = 0


@contextmanager
def counting() -> Iterator[Counted]:
    counted = Counted()
    covering, read = PathTrie.covering, RequestHeaders.read

    def counted_walk(trie: PathTrie[N], path: str) -> list[N]:
        found = covering(trie, path)
        counted.walks += 1
        counted.levels += sum(isinstance(one, Level) for node in found if isinstance(node, tuple) for one in node)
        return found

    def counted_header(headers: RequestHeaders, key: str) -> object:
        counted.headers += 1
        return read(headers, key)

    with mock.patch.object(PathTrie, "covering", counted_walk), mock.patch.object(RequestHeaders, "read", counted_header):
        yield counted
