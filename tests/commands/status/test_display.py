"""The same cluster is shown in the same words, to people and to tools."""

import io
import json
import re
from pathlib import Path

import attrs
import pytest

from exchanger.app.grants_file import GrantsSettings
from exchanger.commands.status.display import Header, as_json, as_text
from exchanger.commands.status.survey import DocumentProblem, NamespaceGrantSummary, Policy, Survey
from exchanger.commands.tables import Screen
from exchanger.model.codes.manifests import NAMESPACE_NOT_ENABLED
from exchanger.model.entry import Source
from exchanger.model.notice import Notice, Notices
from exchanger.policy.grants.allowance import Granted, Grants, NamespaceGrant
from exchanger.sources.kube.listing import UnreadableNamespace

SURVEY = Survey(
    ("team-a", "team-b"),
    (
        Policy(Source("team-a", "orders"), 3),
        Policy(
            Source("team-b", "policy"),
            1,
            (
                DocumentProblem(None, None, "POL-1002", "the document is empty"),
                DocumentProblem(0, None, "POL-2101", "entries[0] ties"),
                DocumentProblem(1, 7, "POL-1102", "entries[1].match is required"),
            ),
        ),
    ),
    (Source("other", "policy"),),
    Notices((Notice("ConfigMap other/policy", "is not active", "label its Namespace", NAMESPACE_NOT_ENABLED),), 3),
    ("needs list on namespaces",),
)
TEXT = """\
server      https://10.0.0.1:6443
namespaces  2 selected: team-a, team-b
issuers     1 profile in issuers.yaml

POLICY         ENTRIES  PROBLEMS
team-a/orders        3         0
team-b/policy        1         3
  document: POL-1002: the document is empty
  entry 0: POL-2101: entries[0] ties
  entry 1, line 7: POL-1102: entries[1].match is required

probable mistakes:
  POL-3103: ConfigMap other/policy is not active (label its Namespace)
  and 3 more

not checked for mistakes:
  needs list on namespaces

total       2 ConfigMaps, 4 entries, 3 problems, 4 warnings
"""
EMPTY = """\
server      https://10.0.0.1:6443
namespaces  0 selected
issuers     not checked: neither --issuers nor TOKEN_EXCHANGE_ISSUER_PROFILES_FILE names a file

total       0 ConfigMaps, 0 entries, 0 problems
"""


def test_for_people() -> None:
    assert as_text(Header("https://10.0.0.1:6443", ("primary",), "issuers.yaml"), SURVEY) == TEXT


def test_nothing_is_shown_too() -> None:
    header, empty = Header("https://10.0.0.1:6443", None), Survey((), ())
    assert as_text(header, empty) == EMPTY
    found = json.loads(as_json(header, empty))
    assert (found["issuers"], found["healthy"]) == ({"checked": False, "profiles": None}, True)


def test_one_is_singular() -> None:
    text = as_text(Header("s", ()), Survey(("a",), (Policy(Source("a", "p"), 1, (DocumentProblem(0, 1, "POL-1101", "x"),)),)))
    assert text.endswith("1 ConfigMap, 1 entry, 1 problem\n")


def test_no_terminal_obeys_a_reason() -> None:
    text = as_text(Header("s", None), Survey((), (Policy(Source("a", "p"), 0, (DocumentProblem(None, None, "POL-1003", "a\x1b[2J\nb"),)),)))
    assert "a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}b\n" in text


def test_for_tools() -> None:
    assert json.loads(as_json(Header("https://10.0.0.1:6443", ("primary",), "issuers.yaml"), SURVEY)) == {
        "server": "https://10.0.0.1:6443",
        "healthy": False,
        "namespaces": ["team-a", "team-b"],
        "issuers": {"checked": True, "profiles": ["primary"]},
        "configMaps": [
            {"namespace": "team-a", "name": "orders", "entries": 3, "problems": []},
            {
                "namespace": "team-b",
                "name": "policy",
                "entries": 1,
                "problems": [
                    {"entry": None, "line": None, "code": "POL-1002", "reason": "the document is empty"},
                    {"entry": 0, "line": None, "code": "POL-2101", "reason": "entries[0] ties"},
                    {"entry": 1, "line": 7, "code": "POL-1102", "reason": "entries[1].match is required"},
                ],
            },
        ],
        "unreadable": [],
        "ignored": [{"namespace": "other", "name": "policy"}],
        "notices": [{"code": "POL-3103", "subject": "ConfigMap other/policy", "text": "is not active", "remedy": "label its Namespace"}],
        "notLookedThrough": ["needs list on namespaces"],
        "totals": {"configMaps": 2, "entries": 4, "problems": 3, "notices": 4},
    }


GRANTED = Survey(
    ("a", "b"),
    (Policy(Source("a", "p"), 1, not_granted=(DocumentProblem(1, 4, "POL-2001", "entries[1] is outside"),)), Policy(Source("b", "p"), 1)),
    allowed=(
        NamespaceGrantSummary(
            "a", (Granted(frozenset({"h", "*.h"}), frozenset({"/x"}), frozenset({"deny", "exchange"}), frozenset({"*"}), (), (), ("s",)),)
        ),
        NamespaceGrantSummary("b", ()),
    ),
)
HEADER = Header("s", None, grants=GrantsSettings(Path("grants.yaml"), grants=Grants((NamespaceGrant(frozenset("a"), None),))))


def test_grants_for_people() -> None:
    _, _, _, *lines = as_text(HEADER, GRANTED).splitlines()
    assert lines == [
        "grants      1 grant and 0 baseline denials in grants.yaml, enforced",
        "",
        "may do:",
        "  a: deny, exchange on host *.h, h below /x; any issuer; scope s",
        "  b: nothing",
        "",
        "POLICY  ENTRIES  PROBLEMS  REFUSED",
        "a/p           1         0        1",
        "  entry 1, line 4: POL-2001: refused: entries[1] is outside",
        "b/p           1         0        0",
        "",
        "total       2 ConfigMaps, 2 entries, 0 problems, 1 refused",
    ]


def test_report_mode_says_what_would_be() -> None:
    text = as_text(attrs.evolve(HEADER, grants=attrs.evolve(HEADER.grants, enforced=False)), GRANTED)
    assert "report mode: nothing is refused yet\n" in text
    assert ", 1 would be refused\n" in text
    assert ": refused: " not in text


def test_grants_for_tools() -> None:
    found = json.loads(as_json(HEADER, GRANTED))
    assert found["grants"] == {"file": "grants.yaml", "mode": "enforce", "grants": 1, "baseline": 0}
    allowed, nothing = found["allowed"]
    assert (allowed["namespace"], allowed["granted"][0]["hosts"], nothing) == ("a", ["*.h", "h"], {"namespace": "b", "granted": []})
    assert found["configMaps"][0]["notGranted"] == [{"entry": 1, "line": 4, "code": "POL-2001", "reason": "entries[1] is outside"}]
    assert (found["totals"]["notGranted"], found["healthy"]) == (1, False)


def test_a_namespace_that_may_not_be_read_is_named() -> None:
    found = Survey(("a", "b"), (), unreadable=(UnreadableNamespace("b", "needs list on configmaps in the namespace b"),))
    assert "  b: needs list on configmaps in the namespace b\n" in as_text(Header("s", None), found)
    assert "1 problem\n" in as_text(Header("s", None), found)
    told = json.loads(as_json(Header("s", None), found))
    assert told["unreadable"] == [{"namespace": "b", "missingRight": "needs list on configmaps in the namespace b"}]
    assert not told["healthy"]


def test_a_terminal_shows_the_same_words_in_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    screen = Screen.on(terminal, {"TERM": "xterm"})
    assert screen is not None
    shown = as_text(HEADER, SURVEY, screen)
    assert "\x1b[1;31m" in shown
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown).split() == as_text(HEADER, SURVEY).split()
