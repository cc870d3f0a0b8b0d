"""Events have names that repeat themselves, and messages that every API server takes."""

import pytest

from exchanger.model.entry import EVERYWHERE, FailClosedScope, MatchScope, Source
from exchanger.sources.kube.event_writer import MAX_MESSAGE_BYTES, EventReason, Report, shortened, timestamp

SOURCE = Source("team", "policy")
CLOSED_SCOPES = (
    FailClosedScope(SOURCE, EVERYWHERE, "entries[0].action is required", 0, 3),
    FailClosedScope(SOURCE, MatchScope("h"), "entries[2].match is required", 2, None),
)


def test_an_event_points_at_its_config_map() -> None:
    report = Report(SOURCE, EventReason.INVALID, closed_scopes=CLOSED_SCOPES)
    assert report.event("", 0.0) == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": "team", "name": report.name("")},
        "involvedObject": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "team", "name": "policy"},
        "type": "Warning",
        "reason": "InvalidPolicy",
        "message": "line 3: entries[0].action is required; entries[2].match is required",
        "count": 1,
        "firstTimestamp": "1970-01-01T00:00:00Z",
        "lastTimestamp": "1970-01-01T00:00:00Z",
        "source": {"component": "exchanger"},
        "reportingComponent": "exchanger",
    }


def test_the_name_depends_on_the_object_and_on_what_is_said() -> None:
    report = Report(SOURCE, EventReason.INVALID, "text")
    assert report.event("1", 0.0)["involvedObject"] == {**report.event("", 0.0)["involvedObject"], "uid": "1"}  # type: ignore[dict-item]
    names = [
        report.name(""),
        report.name("1"),
        Report(SOURCE, EventReason.INVALID, "other").name(""),
        Report(SOURCE, EventReason.CONFLICTING, "text").name(""),
        Report(Source("team", "other"), EventReason.INVALID, "text").name(""),
        Report(Source("other", "policy"), EventReason.INVALID, "text").name(""),
    ]
    assert len(set(names)) == len(names)
    assert Report(SOURCE, EventReason.INVALID, "text").name("") == names[0]


def test_a_long_name_is_cut_to_one_that_is_allowed() -> None:
    name = Report(Source("team", "a" * 235 + "." + "b" * 17), EventReason.INVALID, "text").name("")
    assert len(name) <= 253
    assert ".." not in name


@pytest.mark.parametrize("text", ["x" * 5000, "ä" * 1000, "😀" * 300, "x" * 1023 + "ä", "\ud800" * 2000])
def test_a_long_message_is_cut_by_bytes(text: str) -> None:
    cut = shortened(text)
    assert MAX_MESSAGE_BYTES - 8 < len(cut.encode()) <= MAX_MESSAGE_BYTES
    assert cut.endswith(" …")


@pytest.mark.parametrize("text", ["x" * 1024, "ä" * 512, "short"])
def test_a_message_that_fits_is_whole(text: str) -> None:
    assert shortened(text) == text


def test_a_message_is_one_line_that_prints() -> None:
    assert shortened("a\nb\x1b[31mc\u202ed\ud800") == "a b [31mc d "


def test_the_first_of_ten_thousand_problems_are_reported() -> None:
    many = tuple(FailClosedScope(SOURCE, EVERYWHERE, f"entries[{index}] must be a mapping", index, index) for index in range(10_000))
    message = Report(SOURCE, EventReason.INVALID, closed_scopes=many).message
    assert message.startswith("line 0: entries[0] must be a mapping; line 1: ")
    assert MAX_MESSAGE_BYTES - 8 < len(message.encode()) <= MAX_MESSAGE_BYTES


def test_timestamps_are_utc() -> None:
    assert timestamp(1_764_000_000.9) == "2025-11-24T16:00:00Z"
