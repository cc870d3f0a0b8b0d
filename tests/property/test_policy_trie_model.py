"""Law: a prefix trie is a plain dict whose old versions stay.

Whatever is put in or taken out in whatever order, the trie has the items of a dict that went through the same, finds the prefixes that a
look at every key finds, and has one shape for equal contents.
"""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.policy.trie import PrefixTrie

keys = st.text(alphabet="ab/é", max_size=6)
values = st.none() | st.integers(min_value=0, max_value=3)  # None removes
changes = st.lists(st.tuples(keys, values), max_size=30)


def model_of(changes: list[tuple[str, int | None]]) -> dict[str, int]:
    model: dict[str, int] = {}
    for key, value in changes:
        if value is None:
            model.pop(key, None)
        else:
            model[key] = value
    return model


def trie_of(changes: list[tuple[str, int | None]]) -> PrefixTrie[int]:
    trie: PrefixTrie[int] = PrefixTrie()
    for key, value in changes:
        trie = put(trie, key, value)
    return trie


def put(trie: PrefixTrie[int], key: str, value: int | None) -> PrefixTrie[int]:
    return trie.updated(key, lambda _: value)


@given(changes)
def test_items_are_those_of_a_dict(changes: list[tuple[str, int | None]]) -> None:
    assert list(trie_of(changes).items()) == sorted(model_of(changes).items())
    assert bool(trie_of(changes)) == bool(model_of(changes))


@given(changes, st.text(alphabet="ab/é", max_size=10))
def test_prefixes_are_those_of_a_linear_scan(changes: list[tuple[str, int | None]], text: str) -> None:
    expected = [value for key, value in sorted(model_of(changes).items()) if text.startswith(key)]

    assert trie_of(changes).prefixes_of(text) == expected


@given(changes, keys)
def test_a_change_is_given_what_is_there(changes: list[tuple[str, int | None]], key: str) -> None:
    seen: list[int | None] = []
    trie = trie_of(changes)

    def note(value: int | None) -> int | None:
        seen.append(value)
        return value

    assert trie.updated(key, note) is trie
    assert seen == [model_of(changes).get(key)]


@given(changes, changes)
def test_old_versions_stay(before: list[tuple[str, int | None]], after: list[tuple[str, int | None]]) -> None:
    old = trie_of(before)
    items = list(old.items())
    new = old
    for key, value in after:
        new = put(new, key, value)

    assert list(old.items()) == items
    assert list(new.items()) == sorted(model_of(before + after).items())


@given(changes, changes)
def test_equal_contents_are_equal_tries(first: list[tuple[str, int | None]], second: list[tuple[str, int | None]]) -> None:
    equal = model_of(first) == model_of(second)

    assert (trie_of(first) == trie_of(second)) == equal
    assert trie_of(first) == trie_of([*sorted(model_of(first).items(), reverse=True)])
    if equal:
        assert hash(trie_of(first)) == hash(trie_of(second))


@given(changes, st.lists(keys, unique=True, max_size=10))
def test_adding_and_removing_leaves_no_trace(changes: list[tuple[str, int | None]], new_keys: list[str]) -> None:
    trie = trie_of(changes)
    new_keys = [key for key in new_keys if key not in model_of(changes)]
    changed = trie
    for key in new_keys:
        changed = put(changed, key, 9)
    for key in new_keys:
        changed = put(changed, key, None)

    assert changed == trie
