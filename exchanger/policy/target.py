"""The absolute form of a request target (RFC 9112 section 3.2.2, https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2).

A server that gets one takes the authority in it, whatever the host header says.

Must not know: policy entries, or what is decided.
"""

import re
from typing import Final

# RFC 3986 section 3.1 and appendix B (https://www.rfc-editor.org/rfc/rfc3986#section-3.1); servers that read targets know http and https
# only, but what takes any scheme misses none of theirs.
_absolute: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*+://([^/?#]*+)(.*)", re.DOTALL).fullmatch


def split_absolute_form(target: str) -> tuple[str, str] | None:
    """Return authority and path (with query, and a ``/`` before it) of an absolute-form ``target``, ``None`` when it is none."""
    if target[:1] == "/" or (parts := _absolute(target)) is None:
        return None
    authority, path = parts.groups()
    return authority, path if path.startswith("/") else f"/{path}"
