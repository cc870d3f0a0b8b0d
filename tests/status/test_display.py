"""The same cluster is shown in the same words, to people and to tools."""

import json

from exchanger.status.display import Header, as_json, as_text
from exchanger.status.survey import Policy, Problem, Survey, Unreadable
from exchanger.values.entry import Source
from exchanger.values.notice import Notice, Notices

SURVEY = Survey(
    ("team-a", "team-b"),
    (
        Policy(Source("team-a", "orders"), 3),
        Policy(
            Source("team-b", "policy"),
            1,
            (
                Problem(None, None, "the document is empty"),
                Problem(0, None, "entries[0] ties"),
                Problem(1, 7, "entries[1].match is required"),
            ),
        ),
    ),
    (Source("other", "policy"),),
    Notices((Notice("ConfigMap other/policy", "is not in force", "label its Namespace"),), 3),
    ("needs list on namespaces",),
)
TEXT = """\
server      https://10.0.0.1:6443
namespaces  2 selected: team-a, team-b
issuers     1 profile in issuers.yaml

POLICY         ENTRIES  PROBLEMS
team-a/orders        3         0
team-b/policy        1         3
  document: the document is empty
  entry 0: entries[0] ties
  entry 1, line 7: entries[1].match is required

probably mistakes:
  ConfigMap other/policy is not in force (label its Namespace)
  and 3 more

not looked through for mistakes:
  needs list on namespaces

total       2 ConfigMaps, 4 entries, 3 problems, 4 warnings
"""
EMPTY = """\
server      https://10.0.0.1:6443
namespaces  0 selected
issuers     not judged: neither --issuers nor TOKEN_EXCHANGE_ISSUER_PROFILES_FILE names a file

total       0 ConfigMaps, 0 entries, 0 problems
"""


def test_for_people() -> None:
    assert as_text(Header("https://10.0.0.1:6443", ("primary",), "issuers.yaml"), SURVEY) == TEXT


def test_nothing_is_shown_too() -> None:
    header, empty = Header("https://10.0.0.1:6443", None), Survey((), ())
    assert as_text(header, empty) == EMPTY
    found = json.loads(as_json(header, empty))
    assert (found["issuers"], found["healthy"]) == ({"judged": False, "profiles": None}, True)


def test_one_is_singular() -> None:
    text = as_text(Header("s", ()), Survey(("a",), (Policy(Source("a", "p"), 1, (Problem(0, 1, "x"),)),)))
    assert text.endswith("1 ConfigMap, 1 entry, 1 problem\n")


def test_no_terminal_obeys_a_reason() -> None:
    text = as_text(Header("s", None), Survey((), (Policy(Source("a", "p"), 0, (Problem(None, None, "a\x1b[2J\nb"),)),)))
    assert "a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}b\n" in text


def test_for_tools() -> None:
    assert json.loads(as_json(Header("https://10.0.0.1:6443", ("primary",), "issuers.yaml"), SURVEY)) == {
        "server": "https://10.0.0.1:6443",
        "healthy": False,
        "namespaces": ["team-a", "team-b"],
        "issuers": {"judged": True, "profiles": ["primary"]},
        "configMaps": [
            {"namespace": "team-a", "name": "orders", "entries": 3, "problems": []},
            {
                "namespace": "team-b",
                "name": "policy",
                "entries": 1,
                "problems": [
                    {"entry": None, "line": None, "reason": "the document is empty"},
                    {"entry": 0, "line": None, "reason": "entries[0] ties"},
                    {"entry": 1, "line": 7, "reason": "entries[1].match is required"},
                ],
            },
        ],
        "unreadable": [],
        "ignored": [{"namespace": "other", "name": "policy"}],
        "notices": [{"subject": "ConfigMap other/policy", "text": "is not in force", "remedy": "label its Namespace"}],
        "notLookedThrough": ["needs list on namespaces"],
        "totals": {"configMaps": 2, "entries": 4, "problems": 3, "notices": 4},
    }


def test_a_namespace_that_may_not_be_read_is_named() -> None:
    found = Survey(("a", "b"), (), unreadable=(Unreadable("b", "needs list on configmaps in the namespace b"),))
    assert "  b: needs list on configmaps in the namespace b\n" in as_text(Header("s", None), found)
    assert "1 problem\n" in as_text(Header("s", None), found)
    told = json.loads(as_json(Header("s", None), found))
    assert told["unreadable"] == [{"namespace": "b", "missingRight": "needs list on configmaps in the namespace b"}]
    assert not told["healthy"]
