"""Finds in a PromQL expression which series it reads, and by which labels: enough to hold it against what the service exports.

No parser: whether an expression is one is promtool's business. The grammar is https://prometheus.io/docs/prometheus/latest/querying/basics/.
"""

import re
from collections.abc import Iterator
from typing import Final

import attrs

_TOKEN: Final = re.compile(
    r"""\s+
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<range>\[[^\]]*\])
    |(?P<variable>\$\w+|\$\{\w+\})
    |(?P<number>[0-9][0-9a-zA-Z.]*)
    |(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^=<>(){},])
    """,
    re.VERBOSE,
)
_WORDS: Final = frozenset({"and", "or", "unless", "offset", "bool", "inf", "nan"})
_LABEL_LISTS: Final = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})


class UnknownTokenError(Exception):
    """What this module cannot read."""


@attrs.frozen
class Selector:
    """One ``metric{label="value"}``; matchers are (label, operator, value)."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...] = ()


@attrs.frozen
class Reading:
    """What an expression reads: its selectors, and the labels that it aggregates or joins by."""

    selectors: tuple[Selector, ...]
    labels: frozenset[str]

    @property
    def metrics(self) -> frozenset[str]:
        """The names of the series."""
        return frozenset(selector.metric for selector in self.selectors)


def read(expression: str) -> Reading:
    """Return what ``expression`` reads.

    Raises:
        UnknownTokenError: it has something that is not known here.
    """
    tokens = [*_tokens(expression)]
    selectors: list[Selector] = []
    labels: set[str] = set()
    at = 0
    while at < len(tokens):
        kind, text = tokens[at]
        following = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        at += 1
        if kind != "name" or text in _WORDS:
            continue
        if text in _LABEL_LISTS:
            if following == "(":
                end = tokens.index(("sign", ")"), at)
                labels |= {name for _, name in tokens[at + 1 : end] if name != ","}
                at = end + 1
        elif following == "{":
            end = tokens.index(("sign", "}"), at)
            selectors.append(Selector(text, _matchers(tokens[at + 1 : end])))
            at = end + 1
        elif following != "(" and following not in _LABEL_LISTS:  # otherwise a function or an aggregation
            selectors.append(Selector(text))
    return Reading(tuple(selectors), frozenset(labels))


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(expression):
        found = _TOKEN.match(expression, at)
        if found is None:
            raise UnknownTokenError(expression[at : at + 20])
        at = found.end()
        if found.lastgroup is not None:
            yield found.lastgroup, found.group()


def _matchers(tokens: list[tuple[str, str]]) -> tuple[tuple[str, str, str], ...]:
    words = [text for _, text in tokens if text != ","]
    if len(words) % 3:
        raise UnknownTokenError(" ".join(words))
    return tuple((words[at], words[at + 1], words[at + 2][1:-1]) for at in range(0, len(words), 3))
