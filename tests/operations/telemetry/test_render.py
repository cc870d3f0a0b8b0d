import enum

import orjson
import pytest

from exchanger.model.secret import Secret
from exchanger.operations.telemetry.render import EXCEPTION_LIMIT, TEXT_LIMIT, Stamp, bounded, console_renderer, render_json
from tests.operations.telemetry.records import CANARY


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_767_225_599.9996, "2025-12-31T23:59:59.999Z"),
        (1_769_860_800.1235, "2026-01-31T12:00:00.123Z"),
    ],
)
def test_the_time_is_utc_with_milliseconds(now: float, text: str) -> None:
    assert Stamp(lambda: now)() == text


def test_the_millisecond_is_kept_and_let_go() -> None:
    times = iter([10.0, 10.0004, 10.5, 11.001, 10.999])
    stamp = Stamp(lambda: next(times))

    assert [stamp() for _ in range(5)] == [f"1970-01-01T00:00:{second}Z" for second in ("10.000", "10.000", "10.500", "11.001", "10.999")]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Secret(CANARY), "Secret(…)"),
        (Colour.RED, "red"),
        (Exception("x" * 10_000), "x" * (TEXT_LIMIT - 1) + "…"),
        ("a\ud800b", "a�b"),
        (2**70, str(2**70)),
        ({1: 2}, "{1: 2}"),
    ],
)
def test_what_json_has_no_form_for_becomes_text(value: object, shown: object) -> None:
    line = orjson.loads(render_json({"count": 1, "value": value, "share": 0.5}))

    assert line == {"count": 1, "value": shown, "share": 0.5}
    assert CANARY not in str(line)


def test_a_line_for_people_is_one_line() -> None:
    line = console_renderer(colors=False)(
        {"timestamp": "T", "level": "info", "event": "policy.published", "documents": 3, "reason": "a\nb\x1b[31m", "token": Secret(CANARY)}
    ).decode()

    assert line.startswith("T [info     ] policy.published")
    assert line.endswith("documents=3 reason=a�b�[31m token=Secret(…)")
    assert line.isprintable()


def test_a_traceback_for_people_has_lines_but_no_escapes() -> None:
    line = console_renderer(colors=False)({"timestamp": "T", "level": "error", "event": "x", "exception": "Traceback:\n  boom\x1b[2J"})

    assert line.decode().splitlines()[1:] == ["Traceback:", "  boom�[2J"]


def test_colours_are_for_terminals() -> None:
    fields = {"timestamp": "T", "level": "info", "event": "x"}

    assert b"\x1b[" in console_renderer(colors=True)(fields)
    assert b"\x1b[" not in console_renderer(colors=False)(fields)


def test_long_texts_are_cut_and_tracebacks_keep_their_end() -> None:
    fields = bounded(None, "", {"event": "x", "text": "t" * 5000, "exception": "e" * EXCEPTION_LIMIT + "the end", "number": 5})

    assert fields["text"] == "t" * TEXT_LIMIT + "…"
    assert len(fields["exception"]) == EXCEPTION_LIMIT + 1
    assert fields["exception"].endswith("the end")
    assert fields["number"] == 5
