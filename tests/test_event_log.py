import pytest
import structlog
from structlog.testing import capture_logs

from exchanger.event_log import MAX_LINES, MAX_PROBLEMS, DirectoryLog, KubernetesLog
from exchanger.policy.selection import Change, Text, advance
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Source

VALID = "version: v1"


def logged(*texts: str) -> list[dict[str, object]]:
    """Return the lines about a version of these documents; both logs have the same."""
    change: Change = advance(
        PolicySnapshot.EMPTY, {}, {Source("a", f"p{number}"): Text(text) for number, text in enumerate(texts)}, frozenset()
    )
    with capture_logs() as lines:
        KubernetesLog(structlog.get_logger()).published(change)
    with capture_logs() as same:
        DirectoryLog(structlog.get_logger()).published(change)
    assert lines == same
    return [dict(line) for line in lines]


def invalid(number: int, text: str = "x") -> str:
    return "version: v1\nentries:\n" + f"- {{{text}: 1}}\n" * number


def test_one_problem_has_its_entry_its_line_and_its_reason() -> None:
    line, published = logged(invalid(1))
    reason = 'entries[0] has an unknown field "x"; entries[0].match is required; entries[0].action is required'
    assert line == {"event": "policy.invalid", "log_level": "warning", "policy": "a/p0", "entry": 0, "line": 3, "reason": reason}
    assert (published["invalid_documents"], published["changed"]) == (1, 1)


def test_valid_documents_have_no_line() -> None:
    assert [line["event"] for line in logged(VALID, VALID)] == ["policy.published"]


@pytest.mark.parametrize("number", [MAX_PROBLEMS, MAX_PROBLEMS + 1, 16_000])
def test_a_document_has_one_line_of_bounded_length_however_much_is_wrong_with_it(number: int) -> None:
    line, _ = logged(invalid(number, "x" * 50))
    assert (line["entry"], line["line"]) == (0, 3)
    others = line["others"]
    assert isinstance(others, list)
    assert [other.partition(":")[0] for other in others] == ["line 4", "line 5", "line 6", "line 7"]
    assert line.get("more", 0) == number - MAX_PROBLEMS
    assert len(str(line)) < 1536


def test_a_version_has_lines_for_some_documents_and_the_number_of_the_others() -> None:
    lines = logged(*[invalid(1)] * (MAX_LINES + 7), VALID)
    assert [line["event"] for line in lines] == [*["policy.invalid"] * MAX_LINES, "policy.invalid_not_shown", "policy.published"]
    assert lines[-2]["documents"] == 7
