import pytest

from exchanger.policy.document import entry_lines

TEXT = """\
version: v1
entries:
  - match: {host: a, pathPrefix: /}
    action: deny

  # of the one above
  - action: deny
    match:
      host: b
      pathPrefix: /
"""


def test_an_entry_ends_before_the_next_one_begins_and_the_last_at_the_end() -> None:
    assert entry_lines(TEXT) == ((3, 6), (7, 10))


def test_an_entry_ends_before_the_next_field_of_the_document() -> None:
    assert entry_lines("entries:\n  - action: deny\n    match: 1\nversion: v1\n") == ((2, 3),)


def test_entries_may_share_a_line() -> None:
    assert entry_lines("{version: v1, entries: [{action: deny}, {action: deny}]}") == ((1, 1), (1, 1))


def test_an_alias_has_the_lines_of_what_it_stands_for() -> None:
    assert entry_lines("entries:\n  - &x {action: deny}\n  - {action: exchange}\n  - *x\n") == ((2, 2), (3, 4), (2, 2))


@pytest.mark.parametrize("text", ["", "entries: [", "[]", "version: v1\n", "entries: {}\n", "entries:\n", "1"])
def test_there_are_no_lines_where_there_are_no_entries(text: str) -> None:
    assert entry_lines(text) == ()
