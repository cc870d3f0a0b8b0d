from collections.abc import Callable

from exchanger.policy.trie import PrefixTrie


def put(value: int) -> Callable[[int | None], int | None]:
    return lambda _: value


def remove(_: int | None) -> int | None:
    return None


def trie_of(**keys: int) -> PrefixTrie[int]:
    trie: PrefixTrie[int] = PrefixTrie()
    for key, value in keys.items():
        trie = trie.updated(key, put(value))
    return trie


def test_values_are_found_at_all_prefixes_of_a_text_shortest_first() -> None:
    trie = trie_of(a=1, abc=3, abd=4, b=5).updated("", put(0))
    assert trie.prefixes_of("abcd") == [0, 1, 3]
    assert trie.prefixes_of("ab") == [0, 1]
    assert trie.prefixes_of("x") == [0]
    assert trie.prefixes_of("") == [0]


def test_an_update_is_given_the_value_that_is_there() -> None:
    trie = trie_of(a=1)
    seen: list[int | None] = []

    def note(value: int | None) -> int | None:
        seen.append(value)
        return value

    assert trie.updated("a", note) is trie
    assert trie.updated("ab", note) is trie
    assert trie.updated("", note) is trie
    assert seen == [1, None, None]


def test_an_update_leaves_the_old_version_as_it_was() -> None:
    old = trie_of(a=1, ab=2)
    new = old.updated("a", remove).updated("abc", put(3))
    assert list(old.items()) == [("a", 1), ("ab", 2)]
    assert list(new.items()) == [("ab", 2), ("abc", 3)]


def test_equality_is_of_contents() -> None:
    assert trie_of(a=1, b=2) == trie_of(b=2, a=1)
    assert hash(trie_of(a=1, b=2)) == hash(trie_of(b=2, a=1))
    assert trie_of(a=1) != trie_of(a=2)
    assert trie_of(a=1) != trie_of(a=1, b=2)
    assert trie_of(ab=1) != trie_of(ac=1)
    assert trie_of(a=1) != {"a": 1}


def test_a_value_that_is_false_is_a_value() -> None:
    trie = trie_of(a=0)
    assert trie
    assert trie.prefixes_of("a") == [0]


def test_no_depth_and_no_length_exhausts_the_stack() -> None:
    depth = 2_000  # twice Python's recursion limit
    trie: PrefixTrie[int] = PrefixTrie()
    for length in range(depth, 0, -1):
        trie = trie.updated("a" * length, put(length))
    other = trie.updated("a" * depth, put(0)).updated("a" * depth, put(depth))
    assert len(trie.prefixes_of("a" * 100_000)) == depth
    assert other == trie
    assert sum(1 for _ in other.items()) == depth
    assert "a" * 100_000 in dict(trie.updated("a" * 100_000, put(1)).items())
    for length in range(1, depth + 1):
        trie = trie.updated("a" * length, remove)
    assert not trie


def test_what_an_update_does_not_touch_is_shared() -> None:
    payload = trie_of(left=1, right=2)
    changed = payload.updated("right", put(3))
    assert changed._root.children[0] is payload._root.children[0]
