"""A text that must not be shown: tokens and client secrets.

Must not know: where the text comes from or goes to. Nothing here formats, compares loosely or serialises it.
"""

from collections.abc import Callable
from typing import Final, NoReturn, final


@final
class Secret:
    """A secret text. ``repr``, ``str`` and ``format`` hide it.

    A frozen value, but no attrs class: ``attrs.asdict`` and ``astuple`` would reveal the text.
    """

    __slots__ = ("_text",)
    _text: str

    def __init__(self, text: str) -> None:
        _write(self, text)

    def reveal(self) -> str:
        """Return the text itself; reviewers look at each call of this."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, _spec: str, /) -> str:
        return "Secret(…)"

    def __setattr__(self, name: str, _value: object, /) -> NoReturn:
        raise AttributeError(f"{name} of a Secret cannot be changed")

    def __delattr__(self, name: str, /) -> NoReturn:
        raise AttributeError(f"{name} of a Secret cannot be deleted")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not to be pickled")


def secret_problem(text: str) -> str | None:
    """Return why ``text`` cannot be a client id, a client secret or a password, in words that follow "its value"; ``None`` if it can.

    None of these has a line end (RFC 6749 appendix A.1 and A.2, https://www.rfc-editor.org/rfc/rfc6749#appendix-A.1), and a blank one is
    what remains of a template without its value. Callers remove the line end after the last line of a file.
    """
    if not text.strip():
        return "is blank" if text else "is empty"
    return "has more than one line" if len(text.splitlines()) > 1 else "has a NUL" if "\0" in text else None


# The slot itself, since assignments are refused.
_write: Final[Callable[[Secret, str], None]] = vars(Secret)["_text"].__set__
