"""What the logs tell: of each document once, of what is suspicious once when it appears and once when it goes."""

from collections.abc import Callable

import pytest
import structlog
from structlog.testing import capture_logs

from exchanger.app.policy_log import MAX_LINES, MAX_PROBLEMS, MAX_REMOVED, ConflictLog, log_notices, log_problems, log_version
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import Source
from exchanger.model.notice import NO_NOTICES, Notice, Notices
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.selection import Change, Text, advance
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.publish.conflict_watch import ConflictIndex

VALID = "version: v1"


def logged(*texts: str, grants: Grants | tuple[Problem, ...] = NO_GRANTS) -> list[dict[str, object]]:
    """Return the lines about a version of these documents."""
    assert isinstance(grants, Grants)
    documents = {Source("a", f"p{number}"): Text(text) for number, text in enumerate(texts)}
    change: Change = advance(PolicySnapshot.EMPTY, {}, documents, frozenset(), grants=grants)
    with capture_logs() as lines:
        log_problems(structlog.get_logger(), change)
        log_version(structlog.get_logger(), change)
    return [dict(line) for line in lines]


def invalid(number: int, text: str = "x") -> str:
    return "version: v1\nentries:\n" + f"- {{{text}: 1}}\n" * number


def test_one_problem_has_its_entry_its_line_and_its_reason() -> None:
    line, published = logged(invalid(1))
    reason = 'entries[0] has an unknown field "x"; entries[0].match is required; entries[0].action is required'
    place = {"policy": "a/p0", "code": "POL-1101", "entry": 0, "line": 3}
    assert line == {"event": "policy.invalid", "log_level": "warning", **place, "reason": reason}
    assert (published["invalid_documents"], published["changed"]) == (1, 1)


def test_the_first_problem_and_the_others_suggest_what_was_meant() -> None:
    line, _ = logged("version: v1\nentries:" + "\n- {match: {host: h, pathPrefix: /}, action: dney}" * 2)
    text = 'must be exchange, deny or allow, not "dney" (did you mean deny?)'
    assert line["reason"] == f"entries[0].action {text}"
    assert line["others"] == [f"line 4: POL-1104: entries[1].action {text}"]


NOTHING = read_grants("version: v1\ngrants: []", has_labels=True)
DENY = "{match: {host: h, pathPrefix: /}, action: deny}"


def test_what_is_refused_has_a_line_of_its_own() -> None:
    line, published = logged(refused(1), grants=NOTHING)
    reason = "entries[0] is outside the hosts and paths that its namespace is granted"
    assert line == {
        "event": "policy.not_granted",
        "log_level": "warning",
        "policy": "a/p0",
        "code": "POL-2001",
        "entry": 0,
        "reason": reason,
    }
    assert (published["event"], published["not_granted"]) == ("policy.published", 1)


def refused(number: int) -> str:
    return "version: v1\nentries:\n" + f"- {DENY}\n" * number


@pytest.mark.parametrize("number", [MAX_PROBLEMS, MAX_PROBLEMS + 1, 500])
@pytest.mark.parametrize(
    ("text", "grants", "rest"),
    [
        (lambda number: invalid(number, "x" * 50), NO_GRANTS, ["line 4", "line 5", "line 6", "line 7"]),
        (refused, NOTHING, ["POL-2001"] * 4),
    ],
    ids=["invalid", "refused"],
)
def test_a_document_with_many_problems_has_one_log_line_of_bounded_length(
    text: Callable[[int], str], grants: Grants, rest: list[str], number: int
) -> None:
    line, _ = logged(text(number), grants=grants)
    assert (line["entry"], line.get("line", 3)) == (0, 3)
    others = line["others"]
    assert isinstance(others, list)
    assert [other.partition(":")[0] for other in others] == rest
    assert line.get("more", 0) == number - MAX_PROBLEMS
    assert len(str(line)) < 1536


@pytest.mark.parametrize(("event", "text", "grants"), [("invalid", invalid(1), NO_GRANTS), ("not_granted", refused(1), NOTHING)])
def test_documents_over_the_limit_of_log_lines_are_counted_in_one_line(event: str, text: str, grants: Grants) -> None:
    lines = logged(*[text] * (MAX_LINES + 7), VALID, grants=grants)
    assert [line["event"] for line in lines] == [*[f"policy.{event}"] * MAX_LINES, f"policy.{event}_not_shown", "policy.published"]
    assert lines[-2]["documents"] == 7


def told(*states: Notices) -> list[tuple[str, str, str]]:
    with capture_logs() as lines:
        for before, after in zip((NO_NOTICES, *states), states, strict=False):
            log_notices(structlog.get_logger(), before, after)
    return [(line["log_level"], line["event"], line["object"]) for line in lines]


def notice(subject: str) -> Notice:
    return Notice(subject, "is skipped", "rename it")


A, B = notice("a"), notice("b")


def test_each_is_told_when_it_appears_and_when_it_goes() -> None:
    assert told(NO_NOTICES, Notices((A,)), Notices((A,)), Notices((A, B)), Notices((B,)), NO_NOTICES) == [
        ("warning", "policy.suspicious", "a"),
        ("warning", "policy.suspicious", "b"),
        ("info", "policy.suspicious_resolved", "a"),
        ("info", "policy.suspicious_resolved", "b"),
    ]


def test_notices_over_the_limit_are_logged_as_a_number_when_it_changes() -> None:
    assert told(Notices((A,), 3), Notices((A,), 3), Notices((A,), 5), Notices((A,))) == [
        ("warning", "policy.suspicious", "a"),
        ("warning", "policy.suspicious", "3 more"),
        ("warning", "policy.suspicious", "5 more"),
    ]


def conflicts_logged(*versions: dict[str, str]) -> list[dict[str, object]]:
    """Return the lines on the conflicts of documents, version by version."""
    log = ConflictLog(structlog.get_logger())
    index, snapshot, texts = ConflictIndex(), PolicySnapshot.EMPTY, dict[Source, Text]()
    with capture_logs() as lines:
        for version in versions:
            after = {Source("a", name): Text(text) for name, text in version.items()}
            change = advance(snapshot, texts, after, frozenset())
            snapshot, texts = change.snapshot, after
            changed = {*change.removed, *(document.source for document in change.documents)}
            for source, before in filter(None, index.look(snapshot, changed)):
                log.conflicts_changed(source, before, index.known.get(source, ()))
            log.looked()
    return [dict(line) for line in lines]


def denying(*prefixes: str) -> str:
    return "version: v1\nentries:\n" + "".join(f"- {{match: {{host: h, pathPrefix: {prefix}}}, action: deny}}\n" for prefix in prefixes)


def test_a_conflict_is_logged_once_and_its_resolution_once_per_policy() -> None:
    first = {"one": denying("/a"), "two": denying("/b", "/a")}
    line, *later = conflicts_logged(first, first, {**first, "three": denying("/c")}, {"one": denying("/a")})
    assert (line["event"], line["log_level"]) == ("policy.conflict", "warning")
    sides = {f"{line['policy']} entries[{line['entry']}]", *line["rivals"]}  # type: ignore[misc]  # a list
    assert sides == {"a/one entries[0]", "a/two entries[1]"}
    assert sorted((str(one["event"]), str(one["policy"])) for one in later) == [
        ("policy.conflict_resolved", "a/one"),
        ("policy.conflict_resolved", "a/two"),
    ]


def test_a_new_conflict_beside_an_old_one_is_logged_alone() -> None:
    lines = conflicts_logged({"one": denying("/a", "/b"), "two": denying("/a")}, {"one": denying("/a", "/b"), "two": denying("/a", "/b")})
    assert [(line["event"], line["entry"]) for line in lines] == [("policy.conflict", 0), ("policy.conflict", 1)]


def test_conflicts_over_the_limit_of_log_lines_are_counted_in_one_line() -> None:
    lines = conflicts_logged({f"p{number}": denying(f"/{number // 2}") for number in range(2 * MAX_LINES + 14)})
    assert [line["event"] for line in lines] == [*["policy.conflict"] * MAX_LINES, "policy.conflict_not_shown"]
    assert lines[-1]["documents"] == 14


def test_a_version_names_what_is_gone_within_a_bound() -> None:
    texts = {Source("a", f"p{number:02}"): Text(VALID) for number in range(MAX_REMOVED + 3)}
    before = advance(PolicySnapshot.EMPTY, {}, texts, frozenset())
    with capture_logs() as lines:
        log_version(structlog.get_logger(), advance(before.snapshot, texts, {}, frozenset()))
    (line,) = lines
    assert (line["removed"], line["removed_more"]) == (MAX_REMOVED + 3, 3)
    assert line["removed_policies"] == [f"a/p{number:02}" for number in range(MAX_REMOVED)]
