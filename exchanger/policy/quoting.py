"""How reasons repeat what an author wrote: never more than a little of it, and never what a terminal would obey.

Must not know: what is repeated.
"""

import re
from typing import Final

MAX_QUOTED: Final = 64  # characters; enough to find the place in a document, too few to carry one

_USER_OF_URL: Final = re.compile(r"(?<=//)[^/\\\s]*@")
_QUERY: Final = re.compile(r"([?#]).*\Z", re.DOTALL)


def without_secrets(text: str) -> str:
    """Return ``text`` without what may be a secret in a URL: user information, query and fragment."""
    return _QUERY.sub(r"\1…", _USER_OF_URL.sub("…@", text))


def bounded(text: str) -> str:
    """Return ``text``, shortened to ``MAX_QUOTED`` characters, with U+FFFD for what is not printable."""
    shown = text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"
    return "".join(char if char.isprintable() else "\ufffd" for char in shown)


def quoted(text: str) -> str:
    """Return ``text`` in quotation marks, as ``bounded`` has it."""
    return f'"{bounded(text)}"'
