"""Removes tokens, and characters that control a terminal, from text that people see: a gateway or an upstream may answer anything."""

import re
from typing import Final

from exchanger.util.text import JWT

HIDDEN: Final = "(token)"

# Characters. A shorter text protects nothing, and removing it would garble the words around it.
_MIN_SECRET: Final = 8
_find_jwt: Final = re.compile(JWT)
# RFC 6750 section 2.1, but not the parameters of a challenge, section 3.
_find_bearer: Final = re.compile(r"(?i)\b(bearer +)(?![a-z_]+=\")[A-Za-z0-9._~+/-]{8,}=*")


def without_tokens(text: str, *sent: str) -> str:
    """Return ``text`` without the tokens that were ``sent``, and without anything that looks like a token."""
    for token in sent:
        if len(token) >= _MIN_SECRET:
            text = text.replace(token, HIDDEN)
    return _find_bearer.sub(rf"\1{HIDDEN}", _find_jwt.sub(HIDDEN, text))
