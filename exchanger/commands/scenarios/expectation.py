"""The stated properties of an answer: the expectation of a scenario in the Go project's format.

A ``ScenarioAnswer`` is compared as a whole; empty fields of an ``ExpectedAnswer`` are not compared.
"""

import json
from typing import Final, final

import attrs

from exchanger.commands.scenarios.answer import authorizations_seen
from exchanger.net.http.message import Response
from exchanger.util.text import printable

OK: Final = 200

_SHOWN: Final = 200  # characters of an unexpected text
_LINE: Final = 80  # characters of an expectation in words


@final
@attrs.frozen
class ExpectedAnswer:
    """``authorization`` is the exact header that the upstream receives; it may hold a token. ``challenge`` is a part of the challenge."""

    status: int = OK
    authorization: str = attrs.field(default="", repr=False)
    error: str = ""
    challenge: str = ""
    cors_origin: str = ""

    def __str__(self) -> str:
        """Return it in a few words, without a token."""
        parts = (
            str(self.status),
            self.error,
            f"[… {self.challenge} …]" if self.challenge else "",
            "with the Authorization that it names" if self.authorization else "",
            f"for the origin {self.cors_origin}" if self.cors_origin else "",
        )
        return printable(" ".join(part for part in parts if part), _LINE)

    def differences(self, response: Response) -> tuple[str, ...]:
        """Return the unexpected properties of ``response``, a line each; none has a token, and texts of the response are unchanged."""
        body = response.body.decode("utf-8", "replace")
        authorization = next(iter(authorizations_seen(body) or ()), "")
        found = [
            _difference("status", str(self.status), str(response.status)),
            _difference("error", self.error, error_of(body)) if self.error else "",
            _difference("Access-Control-Allow-Origin", self.cors_origin, _first(response, "access-control-allow-origin"))
            if self.cors_origin
            else "",
        ]
        if self.challenge and self.challenge not in _first(response, "www-authenticate"):
            found.append(f"WWW-Authenticate: expected to contain {self.challenge!r}, got {_first(response, 'www-authenticate')[:_SHOWN]!r}")
        if self.authorization and self.authorization != authorization:
            found.append("upstream Authorization: " + ("not the expected one" if authorization else "none, where one is expected"))
        return tuple(line for line in found if line)


def error_of(body: str) -> str:
    """Return the text in the field ``error`` of a JSON object, "" if there is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    error = found.get("error") if isinstance(found, dict) else None
    return error if isinstance(error, str) else ""


def _difference(what: str, expected: str, got: str) -> str:
    return "" if expected == got else f"{what}: expected {expected!r}, got {got[:_SHOWN]!r}"


def _first(response: Response, name: str) -> str:
    return next(iter(response.values(name)), "")
