"""Law: a text that is read in pieces has the events, places and errors of the whole, wherever it is cut."""

from collections.abc import Iterable, Iterator
from typing import Final

from hypothesis import event, example, given
from hypothesis import strategies as st
from yaml import CSafeLoader, parse
from yaml._yaml import Mark as CMark
from yaml.error import Mark, MarkedYAMLError, YAMLError
from yaml.events import Event

from exchanger.yaml.reader import Pieces
from tests.property.test_policy_any_text import mutated

# Bytes that libyaml asks for at once.
BUFFER: Final = 16 * 1024


def told(events: Iterable[Event]) -> Iterator[object]:
    try:
        for found in events:
            yield repr(found), place(found.start_mark), place(found.end_mark)
    except MarkedYAMLError as error:
        yield error.problem, error.context, place(error.problem_mark), place(error.context_mark)
    except YAMLError as error:
        yield type(error)


def place(mark: Mark | CMark | None) -> tuple[int, int] | None:
    return None if mark is None else (mark.line, mark.column)


@given(text=mutated() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20), before=st.integers(0, 60) | st.none())
@example("\ufeffa: é\n", None)
@example("a: \U0001f600\0", 2)
@example("[é\0", 2)
def test_pieces_say_what_the_whole_says(text: str, before: int | None) -> None:
    whole = text if before is None else f"#{'é' * ((BUFFER - before) // 2)}\n{text}"
    expected = list(told(parse(whole, Loader=CSafeLoader)))
    event(type(expected[-1]).__name__)
    assert list(told(parse(Pieces(whole.encode()), Loader=CSafeLoader))) == expected
