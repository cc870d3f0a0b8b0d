"""Additions to argparse: suggestions for misspelt words, and errors that repeat no value that may be secret.

Must not know: which commands exist.
"""

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from exchanger.util.text import bounded, closest

_OPTION: Final = re.compile(r"--[a-z][a-z-]*")
# Too short for a token, and no header.
_is_word: Final = re.compile(r"[A-Za-z0-9._/-]{0,24}").fullmatch


class WrongArgumentsError(Exception):
    """Arguments are right one by one, and do not go together."""


def refuse(problems: Sequence[str]) -> None:
    """Raise ``WrongArgumentsError`` with ``problems``, if there are any."""
    if problems:
        raise WrongArgumentsError("; ".join(problems))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that suggests the most similar word to ``name``, "" if there is none."""
    known = list(known)
    near = closest(name, known) or next((one for one in known if len(name) > 1 and one.startswith(name)), None)
    return "" if near is None else f"; did you mean {near}?"


def one_of(*choices: str) -> Callable[[str], str]:
    """Return the type of an argument that is one of ``choices``."""

    def read(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"must be one of {', '.join(choices)}, not {bounded(text)!r}{did_you_mean(text, choices)}")
        return text

    return read


def unexpected(parser: argparse.ArgumentParser, extra: Sequence[str]) -> str:
    """Return the problem of the arguments that ``parser`` did not accept.

    With an unknown option no other argument is repeated, and no long one: what follows a misspelt option, or a header without its option,
    may be a secret.
    """
    unknown = [argument.partition("=")[0] for argument in extra if argument.startswith("-") and len(argument) > 1]
    if not unknown:
        return f"unexpected argument: {' '.join(map(_shown, extra))}"
    known = dict.fromkeys(_OPTION.findall(parser.format_usage()))
    return "; ".join(f"there is no option {bounded(name)}{did_you_mean(name, known)}" for name in dict.fromkeys(unknown))


def _shown(argument: str) -> str:
    return repr(argument) if _is_word(argument) else f"{len(argument)} characters that are not repeated"
