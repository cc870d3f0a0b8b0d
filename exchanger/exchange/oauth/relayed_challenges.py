"""Which of a token endpoint's challenges a caller gets, with ``errors: reference``.

The endpoint answers the service, and its challenge is for the service. The Go service relays it, so this one does, too, except for
parameters that send a caller elsewhere to sign in: these belong to the entry (``exchange.resourceMetadata``), and a client that follows
another host's metadata hands its credentials to that host.

Must not know: HTTP clients, tasks, clocks or logs.
"""

import re
from collections.abc import Sequence
from typing import Final

# ``WWW-Authenticate`` values that are relayed; one a scheme is usual.
_MAX_CHALLENGES: Final = 8

# Longest ``WWW-Authenticate`` value that is relayed, so that eight of them stay below Envoy's 60 KiB for all headers.
_MAX_CHALLENGE_CHARS: Final = 4 * 1024

# RFC 9110 section 5.5 (field-value), https://www.rfc-editor.org/rfc/rfc9110#section-5.5, without the C1 controls: what may be relayed of
# the token endpoint's challenges.
_SAFE_CHALLENGE: Final = re.compile(r"[\t\x20-\x7e\xa0-\xff]+")

# Where to sign in: RFC 9728 section 5.1, Microsoft's clients, and UMA 2.0. Also within another value, since some clients look for the name
# alone (the TypeScript SDK of the Model Context Protocol for one).
_is_place: Final = re.compile(r"resource_metadata|authorization_uri|(?<![a-z_])as_uri", re.IGNORECASE).search

# The grammar of RFC 9110 section 11.6.1. Each character has one meaning, so a value is read once.
_UNENDED: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*'
_QUOTED: Final = f'{_UNENDED}"'
is_challenge_list: Final = re.compile(rf"(?:[^\"]++|{_QUOTED})*").fullmatch
challenge_elements: Final = re.compile(rf"(?:[^\",]++|{_UNENDED}\"?)+").findall
TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
# Groups: the scheme, if it is the first of a challenge, the name and the value, which may be quoted.
challenge_parameter: Final = re.compile(rf"(?:({TOKEN})[ \t]++)?({TOKEN})[ \t]*+=[ \t]*+({TOKEN}|{_QUOTED})").fullmatch


def safe_challenges(values: Sequence[str]) -> tuple[str, ...]:
    """Return those of ``values`` that are valid in a header, eight at most."""
    safe = (value for value in values if len(value) <= _MAX_CHALLENGE_CHARS and _SAFE_CHALLENGE.fullmatch(value))
    return tuple(value for value, _ in zip(safe, range(_MAX_CHALLENGES), strict=False))


def relayed_challenges(safe: Sequence[str]) -> tuple[str, ...]:
    """Return the ``safe`` challenges for the caller, without parameters that say where to sign in."""
    return tuple(value for value in map(_without_places, safe) if value)


def _without_places(value: str) -> str:
    """Return ``value`` without such parameters, "" if nothing is left, or if they cannot be told from the rest."""
    if not _is_place(value):
        return value
    if not is_challenge_list(value):
        return ""
    kept, scheme_alone = "", False
    for element in challenge_elements(value):
        text = element.strip(" \t")
        found = challenge_parameter(text)
        if found is not None and _is_place(found[2]):
            if not found[1]:
                continue
            text = found[1]
        if text:
            # The first parameter that is left follows its scheme without a comma.
            kept += (" " if scheme_alone and found is not None and not found[1] else ", " if kept else "") + text
            scheme_alone = found is not None and text == found[1]
    return "" if _is_place(kept) else kept
