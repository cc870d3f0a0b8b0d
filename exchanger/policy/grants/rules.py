"""Rules for the texts of a grants file, as regular expressions for its JSON Schema; ``documents/text_rules`` explains rules.

Must not know: how the reader reads them.
"""

from typing import Final

from exchanger.formats.yaml.text_rules import BLANKS, NOT_BLANK, TextRefusal, TextRule, any_case, whole
from exchanger.policy.documents.document import VERSION
from exchanger.policy.documents.text_rules import ALLOW, DENY, EXCHANGE, REFUSED_IN_PREFIXES, refusal_of
from exchanger.policy.prefix import Fault

_LABEL: Final = r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_FILLED: Final = rf"\{{(?:namespace|label:{_LABEL})\}}"
_NAME: Final = f"(?:[A-Za-z0-9_-]|{_FILLED})+"
# Any text, placeholders included, that may end with a star. A blank text in a list is ignored.
_STARRED: Final = rf"(?:[^{{}}*]|{_FILLED})*\*?"
_RESOURCE: Final = rf"(?:[A-Za-z]|{_FILLED})(?:[A-Za-z0-9+.-]|{_FILLED})*://(?:[^/?#@\\{{}}*{BLANKS}]|{_FILLED})+/(?:(?:[^?#\\{{}}*{BLANKS}]|{_FILLED})*/)?\*"

VERSION_TEXT: Final = TextRule(whole(VERSION), words=(VERSION,))
NAMESPACE: Final = TextRule(whole("(?:[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)?"))
SELECTOR: Final = TextRule(NOT_BLANK)
HOST: Final = TextRule(whole(rf"(?:\*|(?:\*\.)?{_NAME}(?:\.{_NAME})*|\[[0-9A-Fa-f:.]{{2,45}}\])?"))
ACTIONS: Final = TextRule(whole(rf"(?:{any_case(frozenset({EXCHANGE, DENY, ALLOW}))}|\*)?"), words=(EXCHANGE, DENY, ALLOW))
ISSUER: Final = TextRule(whole(r"[^{}*]*\*?"))
PATTERN: Final = TextRule(whole(_STARRED))
RESOURCE: Final = TextRule(whole(rf"(?:\*|(?:[^{{}}*]|{_FILLED})*|{_RESOURCE})"))
SCOPE: Final = TextRule(whole(rf"(?:[^{{}}*{BLANKS}]|{_FILLED})*\*?"))
BASELINE_ACTION: Final = TextRule(whole(any_case(frozenset({DENY}))), words=(DENY,))

# A star alone is every path, and placeholders are not patterns, so these two kinds of mistakes are recognised differently from policies.
_OTHERWISE: Final = {
    Fault.WILDCARD: rf"[^{BLANKS}][{BLANKS}]*\*(?:[/;,|){BLANKS}]|$)",
    Fault.PATTERN: rf"/\*|\.\*|\.\+(?:[/;,|){BLANKS}]|$)|/<[^/]*>(?:[/;,|){BLANKS}]|$)|\((?:/|[^()'/]*\|)|\[\^|\[[^\]/]{{1,64}}\][*+]",
}


def _refusal(fault: Fault, pattern: str) -> TextRefusal:
    # The key of a label may have a slash, the text that replaces the placeholder may not.
    return refusal_of(fault, _OTHERWISE.get(fault, pattern).replace(";[^/]*/", ";[^/{]*/"))


PREFIX: Final = TextRule(
    whole(rf"(?:\*|/(?:[^{{}}]|{_FILLED})*)?"), tuple(_refusal(fault, pattern) for fault, pattern in REFUSED_IN_PREFIXES)
)
