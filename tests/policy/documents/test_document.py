import pytest

from exchanger.model.entry import DenyEntry, ExchangeEntry, FailClosedScope, MatchScope, TokenTarget
from exchanger.policy.documents.document import MAX_CLOSED_SCOPES_BY_NAME, MAX_ENTRIES, UNREADABLE_REACH, PolicyDocument, entry_lines
from exchanger.util.text import MAX_QUOTED
from tests.policy.examples import BLUE, RED, closed_scope, deny, exchange, parsed

EXAMPLE = """
version: v1
entries:
  - match: {host: api.example.com, pathPrefix: /orders, methods: [GET, POST]}   # methods optional, default all
    action: exchange                                                            # exchange | deny
    exchange:                                                                   # for exchange only, ignored for deny
      issuerRef: primary
      scope: read:orders                    # at least one of scope, resources, audiences
      resources: [https://api.example.com/orders]
      audiences: [orders-api]
  - match:
      host: api.example.com
      pathPrefix: /admin
    action: deny
"""


def test_a_document_is_its_entries() -> None:
    target = TokenTarget("primary", "read:orders", ("https://api.example.com/orders",), ("orders-api",))
    assert parsed(EXAMPLE) == PolicyDocument(
        RED,
        entries=(
            ExchangeEntry(RED, 0, MatchScope("api.example.com", "/orders", frozenset({"GET", "POST"})), target),
            DenyEntry(RED, 1, MatchScope("api.example.com", "/admin")),
        ),
    )


def test_json_is_a_document() -> None:
    text = '{"version":"v1","entries":[{"match":{"host":"a","pathPrefix":"/"},"action":"deny"}]}'
    assert parsed(text).entries == (DenyEntry(RED, 0, MatchScope("a", "/")),)


@pytest.mark.parametrize("text", ["version: v1", "version: v1\nentries:", "version: v1\nentries: null", "version: 'v1'\nentries: []"])
def test_a_document_may_be_without_entries(text: str) -> None:
    assert parsed(text) == PolicyDocument(RED)


@pytest.mark.parametrize("end", ["---", "---\n", "---\n---\n", "--- # nothing\n# at all\n", "...\n---\n...\n"])
def test_an_empty_document_at_the_end_is_ignored(end: str) -> None:
    assert parsed(EXAMPLE + end) == parsed(EXAMPLE)


def test_null_items_are_ignored_and_the_others_keep_their_positions() -> None:
    document = parsed("version: v1\nentries:\n-\n- {match: {host: a, pathPrefix: /}, action: deny}\n- null\n- ~\n- text\n")
    assert [entry.index for entry in document.entries] == [1]
    assert [closed_scope.index for closed_scope in document.closed_scopes] == [4]


def test_an_invalid_entry_closes_each_host_it_names_as_one_problem() -> None:
    document = parsed(
        "version: v1\nentries:\n- {match: {host: 'a,b', pathPrefix: /x}, action: deny}\n- {match: {pathPrefix: /y}, action: deny}\n"
    )
    assert [(closed_scope.index, closed_scope.match) for closed_scope in document.closed_scopes] == [
        (0, MatchScope("a", "/x")),
        (0, MatchScope("b", "/x")),
        (1, MatchScope(None, "/y")),
    ]
    assert document.problems == (document.closed_scopes[0], document.closed_scopes[2])
    assert document.closed_scopes[0].reason == document.closed_scopes[1].reason


def test_a_document_closes_a_bounded_number_of_hosts_by_name() -> None:
    entries = "- {match: &m {host: 'a,b,c,d,e,f,g,h', pathPrefix: /x}, action: deny}\n" + "- {match: *m, action: deny}\n" * 1_000
    closed_scopes = parsed("version: v1\nentries:\n" + entries).closed_scopes
    assert len(closed_scopes) == MAX_CLOSED_SCOPES_BY_NAME + 1_001 - MAX_CLOSED_SCOPES_BY_NAME // 8
    assert [closed_scope.match for closed_scope in closed_scopes[-2:]] == [MatchScope(None, "/x")] * 2


def test_a_valid_entry_stands_beside_an_invalid_one() -> None:
    document = parsed(EXAMPLE + "  - match: {host: other.example.com, pathPrefix: /x}\n    action: permit\n")
    assert len(document.entries) == 2
    assert document.closed_scopes == (
        FailClosedScope(
            RED, MatchScope("other.example.com", "/x"), 'entries[2].action must be exchange, deny or allow, not "permit"', index=2, line=16
        ),
    )


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        (None, "the document is missing: the ConfigMap has no config.yaml", None),
        ("", "the document is empty", None),
        ("---\n", "the document is not a mapping", 2),
        ("version: v1\nversion: v1\n", 'the document has duplicate keys: "version"', 2),
        ("version: v1\nextra: 1\n", 'the document has an unknown field "extra"', 2),
        ("version: v1\n'<<': {entries: []}\n", 'the document has an unknown field "<<"', 2),
        ("version: v1\n[a]: 1\n", "the document has an unknown field that is not text", 2),
        ("version: v1\n!!binary entries: []\n", "the document has an unknown field that is not text", 2),
        ("entries: []\n", "the document has no version v1", None),
        ("version:\n", "the document has no version v1", 1),
        ("entries: []\nversion: ~\n", "the document has no version v1", 2),
        ("version: v2\n", 'the document has version "v2" instead of v1', 1),
        ("version: ' v1'\n", 'the document has version " v1" instead of v1', 1),
        ("entries: []\nversion: 1\n", "the document has version 1 instead of v1", 2),
        ("version: !own v2\n", "the document has version v2 instead of v1", 1),
        ("version: !own v1\n", "the document has a version with a tag instead of v1", 1),
        ("version: !own\n", "the document has a version with a tag instead of v1", 1),
        ("version: [v1]\n", "the document has a list as version instead of v1", 1),
        ("version: {v1: v1}\n", "the document has a mapping as version instead of v1", 1),
        ("version: v1\nentries: {}\n", "the document has entries that are not a list", 2),
    ],
)
def test_an_unreadable_document_closes_everything(text: str | None, reason: str, line: int | None) -> None:
    assert parsed(text) == PolicyDocument(RED, closed_scopes=(FailClosedScope(RED, UNREADABLE_REACH, reason, None, line),))


@pytest.mark.parametrize(
    ("version", "shown"),
    [
        (f'"v{"2" * 500}\\e[2J"', f'"v{"2" * (MAX_QUOTED - 2)}…"'),
        ('"v2\\e[2J\\n"', '"v2\ufffd[2J\ufffd"'),
        ("1" * 500, "1" * (MAX_QUOTED - 1) + "…"),
        ('!own "\\e[2J"', "\ufffd[2J"),
    ],
)
def test_a_wrong_version_is_quoted_in_part_and_without_control_characters(version: str, shown: str) -> None:
    (closed,) = parsed(f"version: {version}\n").closed_scopes
    assert closed.reason == f"the document has version {shown} instead of v1"


def test_the_number_of_entries_is_bounded() -> None:
    assert len(parsed(f"version: v1\nentries: [{'a,' * MAX_ENTRIES}]\n").closed_scopes) == MAX_ENTRIES
    assert parsed(f"version: v1\nentries: [{'~,' * MAX_ENTRIES}]\n") == PolicyDocument(RED)
    assert parsed(f"version: v1\nentries: [{'a,' * (MAX_ENTRIES + 1)}]\n").closed_scopes == (
        FailClosedScope(RED, UNREADABLE_REACH, f"the document has more than {MAX_ENTRIES} entries", None, 2),
    )


@pytest.mark.parametrize(
    ("entries", "closed_scopes"),
    [
        ((exchange("/", source=BLUE),), ()),
        ((), (closed_scope("/", source=BLUE),)),
        ((deny("/a"), deny("/b")), ()),
        ((deny("/a"),), (closed_scope("/b"),)),
        ((), (closed_scope("/a", index=None), closed_scope("/a", index=None))),
        ((), (closed_scope("/a"), closed_scope("/a"))),
        ((deny("/a", index=1),), (closed_scope("/b"), closed_scope("/b", host="b"), closed_scope("/a", index=1, host="b"))),
    ],
)
def test_entries_of_another_source_or_with_the_same_index_raise(
    entries: tuple[DenyEntry | ExchangeEntry, ...], closed_scopes: tuple[FailClosedScope, ...]
) -> None:
    with pytest.raises(ValueError, match=r"is of another source|have the same index"):
        PolicyDocument(RED, entries, closed_scopes)


TEXT = """\
version: v1
entries:
  - match: {host: a, pathPrefix: /}
    action: deny

  # of the one below
  - action: deny
    match:
      host: b
      pathPrefix: /
"""


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (TEXT, ((3, 4), (7, 10))),
        ("entries:\n  - action: deny\n    match: 1\nversion: v1\n", ((2, 3),)),
        ("entries:\n- action: |\n    deny\n\n\n- {}\n", ((2, 3), (6, 6))),
        ("entries:\n-\n\n  # deny\n  action: deny\n", ((2, 5),)),
        ("entries:\n  - &x {action: deny}\n  - {action: exchange}\n  - *x\n", ((2, 2), (3, 3), (4, 4))),
        *((text, ()) for text in ("", "entries: [", "[]", "version: v1\n", "entries: {}\n", "entries:\n", "1")),
    ],
)
def test_an_entry_has_the_lines_from_its_dash_to_its_last_value(text: str, lines: tuple[tuple[int, int], ...]) -> None:
    assert entry_lines(text) == lines
