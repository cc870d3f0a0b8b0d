"""What is said of an edited file: what the service would say, at the place to look at."""

import pytest

from exchanger.playground.lint import MAX_PROBLEMS, Linted, lint
from exchanger.playground.policy_files import MAX_TEXT
from exchanger.playground.source_map import Place
from tests.playground.labs import RULES, SAMPLE, YELLOW

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


def test_what_is_left_open_at_the_end_is_shown_there() -> None:
    text = YELLOW.rstrip().removesuffix("}")
    (problem,) = linted(text).problems
    assert "is not YAML" in problem.reason
    assert problem.place == Place(36, len(text.splitlines()[-1]) + 1)
    (problem,) = linted("a: [").problems
    assert problem.place.line == 1


def test_a_tie_is_shown_at_both_entries() -> None:
    found = edited("pathPrefix: /orders/internal", "pathPrefix: /orders")
    assert [(problem.entry, problem.place.line) for problem in found.problems] == [(0, 20), (1, 25)]
    assert all("has a host, method and pathPrefix in common" in problem.reason for problem in found.problems)


def test_a_tie_with_another_file_is_shown() -> None:
    assert "[0] has a host, method and pathPrefix in common with team-red/token-policy entries[0]" in str(
        edited("host: yellow.example.com, pathPrefix: /orders}", "host: red.example.com, pathPrefix: /inventory}").problems
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('enabled: "true"', 'enabled: "false"', "the ConfigMap's labels are not"),
        ("policy: enabled", "policy: disabled", "no Namespace of this name with labels"),
        ("namespace: team-yellow", "namespace: elsewhere", "no Namespace of this name with labels"),
    ],
)
def test_a_policy_that_labels_leave_out_is_told(old: str, new: str, words: str) -> None:
    found = edited(old, new)
    (problem,) = found.problems
    assert found.documents == 0
    assert words in problem.reason
    assert problem.place == Place(9, 1)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "the file is empty; what the file said before stays in force"),
        ("  \n", 1, "is empty"),
        (f"{YELLOW}\n\t- x", 38, "is not YAML"),
        (YELLOW.replace("name: token-policy", "", 1), 9, "document 1: metadata.name is missing"),
        ("a: 1\n---\n\nkind: X\n", 4, "document 1 needs apiVersion and kind"),
        ("apiVersion: v1\nkind: Secret\n", 1, "no ConfigMap"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_its_line(text: str, line: int, words: str) -> None:
    found = linted(text)
    (problem,) = found.problems
    assert (found.documents, problem.place.line, problem.policy) == (0, line, None)
    assert words in problem.reason


@pytest.mark.parametrize(("text", "words"), [("\ud800", "characters"), ("#" * (MAX_TEXT + 1), "longer")])
def test_a_text_that_is_no_file_is_told(text: str, words: str) -> None:
    (problem,) = linted(text).problems
    assert words in problem.reason


def test_a_configmap_without_a_document_is_shown_where_it_begins() -> None:
    (problem,) = edited("config.yaml: |", "other.yaml: |").problems
    assert "has no config.yaml" in problem.reason
    assert problem.place == Place(9, 1)


def test_what_is_wrong_with_other_files_is_not_told() -> None:
    assert lint("yellow.yaml", YELLOW, SAMPLE | {"red.yaml": "a: [", "yellow.yaml": "["}, RULES) == Linted(1)


def test_problems_are_bounded_and_printable() -> None:
    many = YELLOW + "      - {action: \u202e}\n" * (MAX_PROBLEMS + 10)
    found = linted(many)
    assert len(found.problems) == MAX_PROBLEMS
    assert all("\u202e" not in str(problem.shown()) for problem in found.problems)
