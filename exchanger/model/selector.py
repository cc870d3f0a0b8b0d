"""Label selectors of Kubernetes.

Grammar and meaning are those of the API server
(https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors), so that a selector picks the same
objects whether a cluster evaluates it or this program does.

Must not know: what is selected, or where selectors and labels come from.
"""

import re
from collections.abc import Callable, Mapping
from typing import assert_never, final

import attrs

# Limits of label keys and values: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_NAME_LIMIT = 63
_PREFIX_LIMIT = 253
_VALUE_LIMIT = 63

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_ALPHABET = "letters, digits, '-', '_' and '.', with a letter or digit at both ends"
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_DECIMAL = re.compile(r"[+-]?0*[0-9]{1,19}")  # as many digits as a 64-bit integer has, and zeros before them, as Go accepts them

_TOKEN = re.compile(r"==|!=|[=!(),<>]|[^\s=!(),<>]+", re.ASCII)
_OPERATORS = frozenset({"=", "==", "!=", "in", "notin", "<", ">"})
_PUNCTUATION = frozenset({"=", "==", "!=", "!", "(", ")", ",", "<", ">"})


@final
@attrs.frozen
class OneOf:
    """The label exists and has one of ``values``; ``=`` and ``==`` are the case of a single value."""

    key: str
    values: frozenset[str]


@final
@attrs.frozen
class NoneOf:
    """The label is absent, or has none of ``values``; ``!=`` is the case of a single value."""

    key: str
    values: frozenset[str]


@final
@attrs.frozen
class Present:
    """The label exists, with any value."""

    key: str


@final
@attrs.frozen
class Absent:
    """The label does not exist."""

    key: str


@final
@attrs.frozen
class Above:
    """The label exists and is a decimal integer greater than ``bound``."""

    key: str
    bound: int


@final
@attrs.frozen
class Below:
    """The label exists and is a decimal integer less than ``bound``."""

    key: str
    bound: int


Requirement = OneOf | NoneOf | Present | Absent | Above | Below


@final
@attrs.frozen
class Selector:
    """All of ``requirements`` hold; without any, everything is selected. ``str`` gives a text that parses to an equal selector."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether an object with ``labels`` is selected."""
        return all(_holds(requirement, labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(_text, self.requirements))


def parse_selector(text: str) -> Selector:
    """Read a selector such as ``team=orders,stage notin (test, dev),!legacy``; a blank text selects everything.

    Raises:
        ValueError: the text is not a selector; the message says what is wrong with it
    """
    return _Parser(tokens=(*_TOKEN.findall(text), "")).selector()


@attrs.define(eq=False)
class _Parser:
    """Recursive descent over the tokens; the last one is "", the end of the text."""

    tokens: tuple[str, ...]
    position: int = 0

    def selector(self) -> Selector:
        requirements: list[Requirement] = []
        while self._peek():
            requirements.append(self._requirement())
            separator = self._next()
            if not separator:
                break
            if separator != ",":
                raise ValueError(f"expected a comma or the end of the selector, found {separator!r}")
            if not self._peek():
                raise ValueError("expected a label key after the last comma")
        return Selector(tuple(requirements))

    def _requirement(self) -> Requirement:
        negated = self._skip("!")
        key = _valid_key(self._next())
        if negated:
            return Absent(key)
        operator = self._peek()
        if operator in {"", ","}:
            return Present(key)
        self._next()
        match operator:
            case "=" | "==":
                return OneOf(key, frozenset({self._value()}))
            case "!=":
                return NoneOf(key, frozenset({self._value()}))
            case "in":
                return OneOf(key, self._values())
            case "notin":
                return NoneOf(key, self._values())
            case ">":
                return Above(key, self._bound())
            case "<":
                return Below(key, self._bound())
            case _:
                raise ValueError(f"expected one of {', '.join(sorted(_OPERATORS))} after the label key {key!r}, found {operator!r}")

    def _value(self) -> str:
        """Read one value; an empty one has no characters."""
        return _valid_value("" if self._peek() in {"", ",", ")"} else self._next())

    def _values(self) -> frozenset[str]:
        """Read ``(a,b,…)``; an empty place between commas is the empty value, but ``()`` is not a set."""
        if not self._skip("("):
            raise ValueError(f"expected '(' before a set of values, found {self._peek() or 'the end of the selector'!r}")
        if self._skip(")"):
            raise ValueError("a set of values must not be empty")
        values = {self._value()}
        while self._skip(","):
            values.add(self._value())
        if not self._skip(")"):
            raise ValueError(f"expected ',' or ')' in a set of values, found {self._peek() or 'the end of the selector'!r}")
        return frozenset(values)

    def _bound(self) -> int:
        text = self._value()
        bound = _integer(text)
        if bound is None:
            raise ValueError(f"expected an integer after '<' or '>', found {text!r}")
        return bound

    def _peek(self) -> str:
        return self.tokens[self.position]

    def _next(self) -> str:
        token = self.tokens[self.position]
        if token:
            self.position += 1
        return token

    def _skip(self, token: str) -> bool:
        found = self._peek() == token
        if found:
            self.position += 1
        return found


def _holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement:
        case OneOf(values=values):
            return value in values
        case NoneOf(values=values):
            return value not in values
        case Present():
            return value is not None
        case Absent():
            return value is None
        case Above(bound=bound):
            return _compares(value, lambda number: number > bound)
        case Below(bound=bound):
            return _compares(value, lambda number: number < bound)
        case _:
            assert_never(requirement)


def _compares(value: str | None, holds: Callable[[int], bool]) -> bool:
    number = None if value is None else _integer(value)
    return number is not None and holds(number)


def _text(requirement: Requirement) -> str:
    match requirement:
        case OneOf(key, values):
            return f"{key} in ({','.join(sorted(values))})" if values != {""} else f"{key}="
        case NoneOf(key, values):
            return f"{key} notin ({','.join(sorted(values))})" if values != {""} else f"{key}!="
        case Present(key):
            return key
        case Absent(key):
            return f"!{key}"
        case Above(key, bound):
            return f"{key}>{bound}"
        case Below(key, bound):
            return f"{key}<{bound}"
        case _:
            assert_never(requirement)


def _integer(text: str) -> int | None:
    number = int(text) if _DECIMAL.fullmatch(text) else None
    return number if number is not None and -(2**63) <= number < 2**63 else None


def _valid_key(text: str) -> str:
    if not text or text in _PUNCTUATION:
        raise ValueError(f"expected a label key, found {text or 'the end of the selector'!r}")
    prefix, slash, name = text.rpartition("/")
    if slash and (len(prefix) > _PREFIX_LIMIT or not _DNS_SUBDOMAIN.fullmatch(prefix)):
        raise ValueError(f"the part before '/' of the label key {text!r} must be a DNS name of at most {_PREFIX_LIMIT} characters")
    if len(name) > _NAME_LIMIT or not _NAME.fullmatch(name):
        raise ValueError(f"the label key {text!r} must have a name of 1 to {_NAME_LIMIT} characters, {_ALPHABET}")
    return text


def _valid_value(text: str) -> str:
    if text and (len(text) > _VALUE_LIMIT or not _NAME.fullmatch(text)):
        raise ValueError(f"the label value {text!r} must have at most {_VALUE_LIMIT} characters, {_ALPHABET}")
    return text
