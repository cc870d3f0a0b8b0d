"""Problems in words: the code stands before the sentence, or in a field of its own."""

import pytest

from exchanger.formats.yaml.fields import MAX_COMPARISONS, MAX_ITEMS, MAX_PROBLEMS, Hints
from exchanger.model.codes.grants import NOT_GRANTED
from exchanger.model.codes.manifests import CONFLICT
from exchanger.model.codes.policy import UNKNOWN_FIELD, WRONG_TYPE
from exchanger.model.codes.problem import Problem, coded, hinted_reason, reason_of
from exchanger.model.entry import DenyEntry, FailClosedScope, MatchScope, Source
from exchanger.model.notice import Notice
from exchanger.policy.conflicts import Conflict
from exchanger.policy.documents.document import PolicyRefusal
from tests.model.codes.reaching import SOURCE, document


def test_the_code_stands_before_the_sentence() -> None:
    assert str(Problem(UNKNOWN_FIELD, "x is unknown")) == "POL-1101: x is unknown"
    assert str(Problem(UNKNOWN_FIELD, "x is unknown", hint="y")) == "POL-1101: x is unknown (did you mean y?)"


def test_several_problems_are_one_line_in_which_one_may_speak_for_others() -> None:
    problems = (
        Problem(UNKNOWN_FIELD, "a is unknown", summary="a and b are unknown", hint="c"),
        Problem(UNKNOWN_FIELD, "b is unknown", summary=""),
        Problem(WRONG_TYPE, "d must be text"),
    )
    assert reason_of(problems) == "a and b are unknown; d must be text"
    assert coded(problems) == "POL-1101: a and b are unknown (did you mean c?); POL-1103: d must be text"
    assert hinted_reason(problems) == "a and b are unknown (did you mean c?); d must be text"
    assert coded((), "why") == hinted_reason((), "why") == "why"


def test_what_has_a_reason_has_it_with_its_code() -> None:
    entry = DenyEntry(SOURCE, 0, MatchScope("a", "/"))
    assert FailClosedScope(SOURCE, MatchScope(), "why").code == ""
    assert FailClosedScope(SOURCE, MatchScope(), "why").coded == "why"
    problem = Problem(WRONG_TYPE, "why")
    closed_scope = FailClosedScope(SOURCE, MatchScope(), "why", problems=(problem,))
    assert (closed_scope.code, closed_scope.coded) == ("POL-1103", "POL-1103: why")
    assert PolicyRefusal(SOURCE, 0, "why").coded == "POL-2001: why"
    assert PolicyRefusal(SOURCE, 0, "why", NOT_GRANTED).coded == "POL-2003: why"
    assert Conflict(entry, (DenyEntry(Source("b", "c"), 1, MatchScope("a", "/")),)).coded.startswith(f"{CONFLICT}: entries[0] shares")
    assert str(Notice("a", "b", "c", WRONG_TYPE)) == "POL-1103: a b (c)"
    assert Notice("a", "b", "c").fields() == {"code": None, "subject": "a", "text": "b", "remedy": "c"}
    assert Notice("a", "b", "c", WRONG_TYPE).fields()["code"] == "POL-1103"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{" + ", ".join(f"f{number}: 1" for number in range(1000)) + "}", MAX_ITEMS + 2),
        ("{match: {host: a, pathPrefix: /, methods: [" + "1, " * 1000 + "]}, action: deny}", MAX_ITEMS),
        ("{match: {host: a, pathPrefix: /, methods: [" + "a b, " * 1000 + "]}, action: deny}", MAX_ITEMS),
        ("{match: {host: a, pathPrefix: /, headers: [" + "x, " * 1000 + "]}, action: deny}", MAX_PROBLEMS),
    ],
    ids=range(4),
)
def test_no_entry_has_problems_without_end(entry: str, told: int) -> None:
    (closed_scope,) = document(f"version: v1\nentries:\n- {entry}\n").problems
    assert len(closed_scope.problems) == told
    assert reason_of(closed_scope.problems) == closed_scope.reason


def test_junk_is_compared_with_names_only_for_so_long() -> None:
    hints = Hints()
    names = ["action", "match"]
    assert [hints.meant("acton", names) for _ in range(MAX_COMPARISONS)].count("action") == MAX_COMPARISONS // len(names)


@pytest.mark.parametrize(
    ("document_", "hint", "instead"),
    [
        ("acton: deny", "action", "action"),
        ("ACTION: deny", "action", "action"),
        ("act: deny", "", ""),
        ("mathc: {}", "", ""),
    ],
)
def test_hint_is_an_absent_field_and_instead_the_only_candidate(document_: str, hint: str, instead: str) -> None:
    (closed_scope,) = document(f"version: v1\nentries:\n- match: {{host: a, pathPrefix: /}}\n  {document_}\n").problems
    problem = next(problem for problem in closed_scope.problems if problem.code is UNKNOWN_FIELD)
    assert (problem.hint, problem.instead) == (hint, instead)
