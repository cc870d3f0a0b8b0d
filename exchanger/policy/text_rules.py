"""What of the rules for texts can be said by regular expressions that every language reads: no look-around, no possessive quantifiers.

The readers decide. These rules never refuse what they accept, and refuse most of what they refuse, so that an editor can tell at once.
A text is judged as it was written, with the blanks around it. Characters stand for themselves where languages escape them differently.

Must not know: which fields there are.
"""

import re
from typing import Final, final

import attrs

from exchanger.policy.authority import LITERAL, NAME, SCHEMES
from exchanger.policy.prefix_reader import UNSEEN, Fault

EXCHANGE: Final = "exchange"
DENY: Final = "deny"
EVERY_METHOD: Final = frozenset({"ALL", "ANY"})
"""Words for all methods elsewhere; as methods they would match nothing."""
METHOD: Final = "[A-Za-z][A-Za-z0-9_-]*"


@final
@attrs.frozen
class Refusal:
    """Texts in which ``pattern`` is found are refused. ``reason`` is a sentence for authors."""

    pattern: str
    reason: str


@final
@attrs.frozen
class TextRule:
    """A text has to contain ``pattern`` ("": anything), and none of the ``refusals``; or to be ``only`` this, to the last blank."""

    pattern: str = ""
    refusals: tuple[Refusal, ...] = ()
    only: str = ""


ANY_TEXT: Final = TextRule()


def _literally(escapes: str) -> str:
    """Return ``escapes``, of Python, as the characters themselves."""
    return escapes.encode("ascii").decode("unicode_escape")


def _any_case(words: frozenset[str]) -> str:
    """Return a pattern for ``words`` in any case."""
    return "|".join("".join(f"[{char.upper()}{char.lower()}]" if char.isalpha() else char for char in word) for word in sorted(words))


def _only(pattern: str) -> str:
    """Return ``pattern`` for a whole text, but for the blanks around it."""
    return f"^[{BLANKS}]*(?:{pattern})[{BLANKS}]*$"


def _portable(pattern: str) -> str:
    """Return ``pattern`` without what is about its speed alone: every quantifier of a host's parts stops at what follows it."""
    return re.sub(r"([+*}])\+", r"\1", pattern)


# What Python strips, and takes for a blank: more than JavaScript does in some places, and less in others.
BLANKS: Final = _literally(r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000")
NOT_BLANK: Final = f"[^{BLANKS}]"

ACTION: Final = TextRule(_only(_any_case(frozenset({EXCHANGE, DENY}))))
IS_EXCHANGE: Final = _only(_any_case(frozenset({EXCHANGE})))
METHODS: Final = TextRule(
    _only(rf"(?:{METHOD}|\*)?"),
    (Refusal(_only(_any_case(EVERY_METHOD)), "There is no word for all methods: leave methods out."),),
)

_SERVICE: Final = "[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
_COLON: Final = "[ \t]*:[ \t]*"
_ADDRESS: Final = r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?:\.[0-9]{1,3}){0,3}"
HOST: Final = TextRule(
    _only(rf"(?:(?:{_portable(NAME)})\.?|{_portable(LITERAL)})(?:{_COLON}(?:[0-9]*|\*|{_SERVICE}))?|{_ADDRESS}"),
    (
        Refusal(f"{_COLON}[0-9]+-[0-9-]*[{BLANKS}]*$", "What follows the colon is no port."),
        Refusal(f"^[{BLANKS}]*(?:{_any_case(SCHEMES)}){_COLON}[0-9-]*[A-Za-z]", "What stands before the colon is a scheme, not a host."),
    ),
)

_SLASH: Final = "(?:/|%(?:25)*2[Ff])"  # as it is, or with escapes, be it of escapes
_DOT: Final = r"(?:\.|%(?:25)*2[Ee])"
_START: Final = f"(?:^[{BLANKS}]*|{_SLASH})"  # of a segment
_END: Final = f"(?:[/;,|){BLANKS}]|$)"  # of a segment, of a list's item, or of a pattern's group
_HIDDEN: Final = _literally(rf"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f{UNSEEN}")
_LINE_BREAKS: Final = _literally(
    r"\t-\r\x1c-\x1f\x85\u2028\u2029"
)  # blanks that are controls or break lines; around a text they do no harm
_REFUSED_IN_PREFIXES: Final = (
    (Fault.URL, rf"^[{BLANKS}]*(?:/?[A-Za-z][A-Za-z0-9+.-]*:[/\\]{{2}}|(?:{_any_case(frozenset({'http', 'https', 'ws', 'wss'}))}):)"),
    (Fault.QUOTED, f'^[{BLANKS}]*(?:["\'`]/|/?["`])'),
    (Fault.EXPRESSION, rf"^[{BLANKS}]*/?\^"),
    (Fault.DOTS, rf"{_START} *{_DOT}{{1,2}} *(?:;|{_SLASH}|[{BLANKS}]*$)"),
    (Fault.SLASHES, "//"),
    (Fault.BACKSLASH, r"\\"),
    (Fault.FRAGMENT, "#"),
    (Fault.QUERY, r"\?"),
    (Fault.ESCAPE, "%(?:[^0-9A-Fa-f]|[0-9A-Fa-f][^0-9A-Fa-f]|[0-9A-Fa-f]?$)"),
    (Fault.INVISIBLE, f"[{_HIDDEN}]|[^{BLANKS}][{BLANKS}]*[{_LINE_BREAKS}][{BLANKS}]*[^{BLANKS}]"),
    (Fault.LIST, rf"(?:[,|]|[^{BLANKS}][{BLANKS}]+)/"),
    (Fault.WILDCARD, rf"\*{_END}"),
    (
        Fault.PATTERN,
        (
            rf"^[{BLANKS}]*\*|/\*|\.\*|\.\+{_END}|(?:^[{BLANKS}]*|/)(?:\{{[^/]*\}}|<[^/]*>){_END}"
            rf"|\$\{{|\{{\{{|\((?:/|[^()'/]*\|)|\[\^|\[[^\]/]{{1,64}}\][*+{{]"
        ),
    ),
    (
        Fault.REWRITTEN,
        rf"{_START} *;[^/]*/|{_SLASH} *{_SLASH}|^[{BLANKS}]*%(?:25)*2[Ff]|%(?:25)*(?:5[Cc]|[01][0-9A-Fa-f]|7[Ff])",
    ),
)
PATH_PREFIX: Final = TextRule(
    NOT_BLANK, tuple(Refusal(pattern, f"Refused: such a text {fault.value}.") for fault, pattern in _REFUSED_IN_PREFIXES)
)
