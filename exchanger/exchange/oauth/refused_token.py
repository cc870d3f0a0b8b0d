"""Whether an upstream's response says that it refuses the token it was sent.

Sources: RFC 6750 section 3.1 (https://www.rfc-editor.org/rfc/rfc6750#section-3.1) for ``invalid_token``, and RFC 9110 section 11.6.1
(https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1) for challenges.

Must not know: gateways, caches, tasks, clocks or logs.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from exchanger.exchange.oauth.relayed_challenges import TOKEN, challenge_elements, challenge_parameter, is_challenge_list

# ``WWW-Authenticate`` values that are read, and the longest one: an upstream chooses both. One of some hundred characters is usual.
_MAX_VALUES: Final = 8
_MAX_CHARS: Final = 4 * 1024

# A scheme alone, or with a token68; and what only a parameter can begin with, whatever its value.
_scheme: Final = re.compile(rf"({TOKEN})(?: ++[A-Za-z0-9._~+/-]++=*+)?").fullmatch
_is_parameter: Final = re.compile(rf"{TOKEN}[ \t]*+=").match
_escaped: Final = re.compile(r"\\(.)")


def is_token_refused(status: str, challenges: Sequence[str], *, headers_are_whole: bool) -> bool:
    """Return whether the response refuses the bearer token of its request: 401, and a Bearer challenge with ``invalid_token``.

    A 401 without any challenge counts, too, if ``headers_are_whole``: otherwise the gateway may have left challenges out.
    """
    if status != "401":
        return False
    if not challenges:
        return headers_are_whole
    return any(errors == ["invalid_token"] for value in challenges[:_MAX_VALUES] for errors in _bearer_errors(value))


def _bearer_errors(value: str) -> Iterator[list[str]]:
    """Yield the values of ``error`` in each Bearer challenge of ``value``; more than one is malformed. A value that is no list has none."""
    if len(value) > _MAX_CHARS or not is_challenge_list(value):
        return
    errors: list[str] | None = None  # of a Bearer challenge
    for element in challenge_elements(value):
        text = element.strip(" \t")
        parameter = challenge_parameter(text)
        scheme = parameter[1] if parameter is not None else alone[1] if (alone := _scheme(text)) is not None else None
        # Upstreams forget quotation marks, so a parameter with a malformed value changes nothing. Anything else may be another challenge.
        if scheme or (parameter is None and text and not _is_parameter(text)):
            if errors is not None:
                yield errors
            errors = [] if scheme and scheme.lower() == "bearer" else None
        if parameter is not None and errors is not None and parameter[2].lower() == "error":
            errors.append(_unquoted(parameter[3]))
    if errors is not None:
        yield errors


def _unquoted(value: str) -> str:
    return _escaped.sub(r"\1", value[1:-1]) if value.startswith('"') else value
