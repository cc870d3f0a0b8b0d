"""Takes tokens, and what a terminal would obey, out of what is shown to people: a gateway or an upstream may answer with anything.

Must not know: what the text is about.
"""

import re
from typing import Final

HIDDEN: Final = "(token)"

_MIN_SECRET: Final = 8
"""Characters; a shorter text protects nothing, and to take it out would garble the words around it."""
# A JSON object in Base64 begins like this: RFC 7515 section 3.1.
_find_jwt: Final = re.compile(r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){0,3}")
# RFC 6750 section 2.1, but not the parameters of a challenge, section 3.
_find_bearer: Final = re.compile(r"(?i)\b(bearer +)(?![a-z_]+=\")[A-Za-z0-9._~+/-]{8,}=*")


def without_tokens(text: str, *sent: str) -> str:
    """Return ``text`` without the tokens that were ``sent``, and without all that looks like one."""
    for token in sent:
        if len(token) >= _MIN_SECRET:
            text = text.replace(token, HIDDEN)
    return _find_bearer.sub(rf"\1{HIDDEN}", _find_jwt.sub(HIDDEN, text))
