"""Rules for the texts of a policy document; ``yaml/text_rules`` explains rules.

Must not know: which fields exist, or how they are read.
"""

import re
from typing import Final

import attrs

from exchanger.formats.yaml.text_rules import BLANKS, EVERY_METHOD, NOT_BLANK, TextRefusal, TextRule, any_case, literally, whole
from exchanger.model.authority import LITERAL, NAME, SCHEMES
from exchanger.policy.headers import FORBIDDEN, TOKEN
from exchanger.policy.prefix import UNSEEN, Fault

EXCHANGE: Final = "exchange"
DENY: Final = "deny"
ALLOW: Final = "allow"
METHOD: Final = "[A-Za-z][A-Za-z0-9_-]*"


def _portable(pattern: str) -> str:
    """Return ``pattern`` without possessive quantifiers, which only affect its speed."""
    return re.sub(r"([+*}])\+", r"\1", pattern)


ACTION: Final = TextRule(whole(any_case(frozenset({EXCHANGE, DENY, ALLOW}))), words=(EXCHANGE, DENY, ALLOW))
IS_EXCHANGE: Final = whole(any_case(frozenset({EXCHANGE})))
IS_ALLOW: Final = whole(any_case(frozenset({ALLOW})))
METHODS: Final = TextRule(
    whole(rf"(?:{METHOD}|\*)?"),
    (TextRefusal(whole(any_case(EVERY_METHOD)), "No word stands for all methods: leave methods out."),),
    examples=("GET", "POST", "PUT", "PATCH", "DELETE"),
)

_SERVICE: Final = "[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
_COLON: Final = "[ \t]*:[ \t]*"
_ADDRESS: Final = r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?:\.[0-9]{1,3}){0,3}"
_HOST: Final = rf"(?:(?:\*\.[{BLANKS}]*)?(?:{_portable(NAME)})\.?|{_portable(LITERAL)})(?:{_COLON}(?:[0-9]*|\*|{_SERVICE}))?|{_ADDRESS}"
HOST: Final = TextRule(
    whole(_HOST),
    (
        TextRefusal(f"{_COLON}[0-9]+-[0-9-]*[{BLANKS}]*$", "What follows the colon is not a port."),
        TextRefusal(f"^[{BLANKS}]*(?:{any_case(SCHEMES)}){_COLON}[0-9-]*[A-Za-z]", "What precedes the colon is a scheme, not a host."),
    ),
)
# The same, or every host.
ANY_HOST: Final = attrs.evolve(HOST, pattern=whole(rf"\*|{_HOST}"))

_SLASH: Final = "(?:/|%(?:25)*2[Ff])"  # literal, or escaped once or several times
_DOT: Final = r"(?:\.|%(?:25)*2[Ee])"
_START: Final = f"(?:^[{BLANKS}]*|{_SLASH})"  # of a segment
_END: Final = f"(?:[/;,|){BLANKS}]|$)"  # of a segment, of a list's item, or of a pattern's group
_HIDDEN: Final = literally(rf"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f{UNSEEN}")
_LINE_BREAKS: Final = literally(r"\t-\r\x1c-\x1f\x85\u2028\u2029")  # blanks that are controls or break lines; harmless around a text
REFUSED_IN_PREFIXES: Final = (
    (Fault.URL, rf"^[{BLANKS}]*(?:/?[A-Za-z][A-Za-z0-9+.-]*:[/\\]{{2}}|(?:{any_case(frozenset({'http', 'https', 'ws', 'wss'}))}):)"),
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


def refusal_of(fault: Fault, pattern: str) -> TextRefusal:
    """Return the refusal of prefixes with ``fault``, in which ``pattern`` is found."""
    return TextRefusal(pattern, f"Refused: such a value {fault.value}.")


PATH_PREFIX: Final = TextRule(NOT_BLANK, tuple(refusal_of(fault, pattern) for fault, pattern in REFUSED_IN_PREFIXES))
_PATH_TYPES: Final = ("Prefix", "Segment", "Exact")
PATH_TYPE: Final = TextRule(whole(any_case(frozenset(_PATH_TYPES))), words=_PATH_TYPES)
HEADER_NAME: Final = TextRule(
    whole(TOKEN),
    (TextRefusal(whole("|".join(any_case(frozenset({name})) for name in sorted(FORBIDDEN))), "No entry matches this header."),),
)
_CONTROLS: Final = literally(r"\x00-\x1f\x7f-\x9f")
HEADER_VALUE: Final = TextRule(
    f"^[^{BLANKS},{_CONTROLS}](?:[^,{_CONTROLS}]*[^{BLANKS},{_CONTROLS}])?$",
    (TextRefusal(f"[{BLANKS}]$", "Gateways remove blanks at the end of a value."),),  # Python's $ is also before a line break at the end
)

# Visible ASCII without what ends or escapes a parameter of a challenge (quote, comma, backslash), and without the sign of a fragment.
_OF_METADATA: Final = r"[-!$-+.-\[\]-~]"
# A URL with its authority, without port, and its port.
METADATA_URL: Final = rf"{any_case(frozenset({'https'}))}://({NAME}\.?|{LITERAL})(?::([0-9]{{1,5}}+))?(?:[/?]{_OF_METADATA}*+)?"
RESOURCE_METADATA: Final = TextRule(whole(f"(?:{_portable(METADATA_URL)})?"))
