"""What is suspicious is told once when it appears and once when it goes, whatever versions come in between."""

import structlog
from structlog.testing import capture_logs

from exchanger.event_log import log_notices
from exchanger.values.notice import NO_NOTICES, Notice, Notices


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
        ("info", "policy.suspicious_no_longer", "a"),
        ("info", "policy.suspicious_no_longer", "b"),
    ]


def test_those_beyond_the_bound_are_a_number_that_is_told_when_it_changes() -> None:
    assert told(Notices((A,), 3), Notices((A,), 3), Notices((A,), 5), Notices((A,))) == [
        ("warning", "policy.suspicious", "a"),
        ("warning", "policy.suspicious", "3 more"),
        ("warning", "policy.suspicious", "5 more"),
    ]
