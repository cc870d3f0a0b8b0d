"""What is said of an edited file: what the service would say, at the place to look at."""

import attrs
import pytest

from exchanger.commands.check.source_map import NOWHERE, Place
from exchanger.commands.playground.lint import MAX_PROBLEMS, Linted, lint
from exchanger.commands.playground.policy_files import MAX_TEXT
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.reader import read_grants
from tests.commands.playground.labs import RULES, SAMPLE, YELLOW

POLICY = "team-yellow/token-policy"


def linted(text: str, name: str = "yellow.yaml") -> Linted:
    return lint(name, text, SAMPLE, RULES)


def edited(old: str, new: str) -> Linted:
    assert old in YELLOW
    return linted(YELLOW.replace(old, new, 1))


def test_the_sample_policy_has_no_problems() -> None:
    assert {name: linted(text, name) for name, text in SAMPLE.items()} == dict.fromkeys(SAMPLE, Linted(1))


@pytest.mark.parametrize(
    ("old", "new", "entry", "words"),
    [
        ("demo, scope", "nobody, scope", 0, "unknown issuer profile"),
        ("action: deny", "action: dney", 1, "action"),
        ("host: yellow.example.com", "host: yellow.example.com|b.example.com", 0, "is more than one host"),
        ("version: v1", "version: v2", None, 'version "v2" instead of v1'),
        ("action: deny", "action: [", None, "is not YAML"),
    ],
)
def test_a_mistake_is_shown_where_it_stands(old: str, new: str, entry: int | None, words: str) -> None:
    text = YELLOW.replace(old, new, 1)
    (problem,) = linted(text).problems
    assert (problem.policy, problem.entry) == (POLICY, entry)
    assert words in problem.reason
    assert problem.place.line is not None
    assert problem.place.column is not None
    line = text.splitlines()[problem.place.line - 1]
    if "not YAML" not in words:  # where the parser gave up is after the mistake
        assert line[problem.place.column - 1 :].startswith(new.partition(": ")[2].partition(",")[0].strip() or new)


def test_conflict_is_shown_at_both_places_and_names_the_other_file() -> None:
    found = edited("pathPrefix: /orders/internal", "pathPrefix: /orders")
    assert [(problem.entry, problem.place.line) for problem in found.problems] == [(0, 20), (1, 25)]
    assert all("shares a host, method and pathPrefix" in problem.reason for problem in found.problems)
    assert "[0] shares a host, method and pathPrefix with team-red/token-policy entries[0]" in str(
        edited("host: yellow.example.com, pathPrefix: /orders}", "host: red.example.com, pathPrefix: /inventory}").problems
    )


@pytest.mark.parametrize(
    ("text", "place", "policy", "words"),
    [
        *(
            (YELLOW.replace(old, new, 1), Place(9, 1), POLICY.replace("team-yellow", team), words)
            for old, new, team, words in (
                ('enabled: "true"', 'enabled: "false"', "team-yellow", "the ConfigMap's labels are not"),
                ("policy: enabled", "policy: disabled", "team-yellow", "no Namespace of this name with labels"),
                ("namespace: team-yellow", "namespace: elsewhere", "elsewhere", "no Namespace of this name with labels"),
            )
        ),
        ("", Place(1, 1), None, "the file is empty; its previous content stays active"),
        ("  \n", Place(1, 1), None, "is empty"),
        (f"{YELLOW}\n\t- x", Place(38, 1), None, "is not YAML"),
        (YELLOW.replace("name: token-policy", "", 1), Place(9, 1), None, "document 1: metadata.name is missing"),
        ("a: 1\n---\n\nkind: X\n", Place(4, 1), None, "document 1 needs apiVersion and kind"),
        ("apiVersion: v1\nkind: Secret\n", Place(1, 1), None, "no ConfigMap"),
        ("\ud800", NOWHERE, None, "characters"),
        ("#" * (MAX_TEXT + 1), NOWHERE, None, "longer"),
    ],
    ids=range(11),
)
def test_a_file_that_is_inactive_is_reported_with_its_place(text: str, place: Place, policy: str | None, words: str) -> None:
    found = linted(text)
    (problem,) = found.problems
    assert (found.documents, problem.place, problem.policy) == (0, place, policy)
    assert words in problem.reason


def test_unfinished_document_is_shown_where_it_ends() -> None:
    text = YELLOW.rstrip().removesuffix("}")
    (problem,) = linted(text).problems
    assert "is not YAML" in problem.reason
    assert problem.place == Place(36, len(text.splitlines()[-1]) + 1)
    (problem,) = edited("config.yaml: |", "other.yaml: |").problems
    assert "has no config.yaml" in problem.reason
    assert problem.place == Place(9, 1)


def test_a_file_is_checked_as_the_command_checks_it() -> None:
    changed = YELLOW.replace("/archive", "/archives")
    (problem,) = linted(changed, "other.yaml").problems
    assert problem.reason.endswith("occurs twice, with different documents; the other is in yellow.yaml")
    (problem,) = edited("action: deny", "action: %deny").problems
    assert problem.reason.endswith("(did you mean to put it in quotation marks?)")


def test_problems_are_those_of_this_file_bounded_and_printable() -> None:
    assert lint("yellow.yaml", YELLOW, SAMPLE | {"red.yaml": "a: [", "yellow.yaml": "["}, RULES) == Linted(1)
    found = linted(YELLOW + "      - {action: \u202e}\n" * (MAX_PROBLEMS + 10))
    assert len(found.problems) == MAX_PROBLEMS
    assert all("\u202e" not in str(problem.shown()) for problem in found.problems)


def test_entry_outside_the_grants_is_shown_at_its_line() -> None:
    entry = (
        "\n      - match: {host: login.example.com, pathPrefix: /, pathType: Exact, headers: [{name: X-A, value: b}]}\n      "
        "  action: allow"
    )
    text = YELLOW.rstrip("\n") + entry
    grants = read_grants(
        "version: v1\ngrants: [{namespaces: [team-yellow], hosts: [login.example.com], actions: [allow]}]", has_labels=True
    )
    assert isinstance(grants, Grants)
    problems = lint("yellow.yaml", text, SAMPLE, attrs.evolve(RULES, grants=grants)).problems
    assert problems
    assert {problem.policy for problem in problems} == {POLICY}
    assert all(problem.reason.startswith("not granted: entries[") for problem in problems)
    lines = text.splitlines()
    assert all(problem.place.line and "- match:" in lines[problem.place.line - 1] for problem in problems)
    assert len(problems) == text.count("- match:") - 1
