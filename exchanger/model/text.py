"""Texts of requests made fit for a log: bounded, printable, and without anything that may contain a credential.

Must not know: log formats or settings.
"""

import re
from typing import Final

from exchanger.model.shown_path import redacted
from exchanger.util.text import printable

# Characters of a path in a log line; the rest of a longer one does not help operators.
PATH_LIMIT: Final = 512
# RFC 1035 section 2.3.4 (https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4): 255 octets for a name.
HOST_LIMIT: Final = 255
# The longest registered method has 17 characters (https://www.iana.org/assignments/http-methods).
METHOD_LIMIT: Final = 32
# ``namespace/name``: 63, a slash and 253 (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/).
POLICY_LIMIT: Final = 317
# Characters of an issuer profile's name.
ISSUER_LIMIT: Final = 253
# Characters of a policy's problem; the line about the policy itself has all of it.
DETAIL_LIMIT: Final = 512
# Hosts and paths as nearly all are, which may be shown as they are: nothing to decode or to escape, and no user information. Of a path,
# the first group is what may be shown.
is_usual_host: Final = re.compile(rf"[A-Za-z0-9.:-]{{0,{HOST_LIMIT}}}").fullmatch
usual_path: Final = re.compile(rf"([A-Za-z0-9._~$&'()*+,=:/\[\]-]{{0,{PATH_LIMIT}}}+)(?:\?[^@]*+)?").fullmatch
# What gateways and clients generate as ids; anything else may be a credential, or not an id at all.
is_request_id: Final = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch


def loggable_path(path: str) -> str:
    """Return ``path`` without what any server may read as query, parameters, fragment or user information (see ``values.shown_path``).

    Query and fragment (RFC 3986 section 3.4 and 3.5) are removed without a trace; anything else that is removed leaves an ellipsis.
    """
    usual = usual_path(path)
    return printable(redacted(path, PATH_LIMIT)) if usual is None else usual[1]


def loggable_host(host: str) -> str:
    """Return ``host`` without user information (RFC 3986 section 3.2.1), which may be a password, and without anything but a host."""
    return host if is_usual_host(host) else printable(redacted(f"//{host}", HOST_LIMIT + 2).removeprefix("//"))


def loggable_request_id(request_id: str) -> str:
    """Return ``request_id`` if it looks like one, else ""."""
    return request_id if is_request_id(request_id) else ""
