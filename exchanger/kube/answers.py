"""Answers of an API server as values: the JSON of a body, and what a status that is no success means. Total.

Must not know: sockets, threads, credentials, or what objects are for.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ and, for the fields of a Status,
https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/.
"""

import re
from collections.abc import Mapping
from typing import Final

import orjson

from exchanger.kube.list_watch import ApiFailure, FailureKind

MAX_MESSAGE_CHARS: Final = 200
"""Characters of a server's sentence that are kept; the longest that names a missing right is about as long."""
MAX_RETRY_AFTER_S: Final = 300.0
"""Seconds: a server that wants to be left alone for longer is asked again all the same; client-go's own back-off ends at 30."""
RETRY_AFTER: Final = re.compile(r"[0-9]{1,9}")
"""API servers send seconds (https://kubernetes.io/docs/concepts/cluster-administration/flow-control/); a date is not looked at."""
TOO_LARGE_VERSION: Final = "too large resource version"
"""What a server says of a version that it has not reached: https://kubernetes.io/docs/reference/using-api/api-concepts/#unavailable-resource-versions."""

_KINDS: Final = {
    400: FailureKind.UNSUPPORTED,
    401: FailureKind.UNAUTHORIZED,
    403: FailureKind.FORBIDDEN,
    404: FailureKind.NOT_FOUND,
    410: FailureKind.GONE,
    422: FailureKind.UNSUPPORTED,
    429: FailureKind.TOO_MANY_REQUESTS,
}


def read_object(body: bytes | bytearray) -> dict[str, object] | ApiFailure:
    """Return the JSON object that ``body`` is."""
    try:
        found: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ApiFailure(FailureKind.MALFORMED, message="an answer that is not JSON")
    return found if isinstance(found, dict) else ApiFailure(FailureKind.MALFORMED, message="an answer that is no JSON object")


def failure_of_response(status: int, body: bytes | bytearray, retry_after: str | None) -> ApiFailure:
    """Return what an answer without success means; ``retry_after`` is the header of that name."""
    seconds = _seconds(retry_after)
    found = read_object(body)
    if isinstance(found, ApiFailure) or found.get("kind") != "Status":
        # Something in between has answered, such as a proxy with a page of its own, which is for nobody to read.
        return ApiFailure(_kind(status, ""), status, f"HTTP {status}, and no Kubernetes Status with it", seconds)
    failure = failure_of_status({**found, "code": status})
    return failure if seconds is None else ApiFailure(failure.kind, status, failure.message, seconds)


def failure_of_status(status: Mapping[str, object]) -> ApiFailure:
    """Return what a Status means that came as a watch's ERROR event; its ``code`` is the HTTP status it would have had."""
    code = status.get("code")
    if isinstance(code, bool) or not isinstance(code, int) or not 0 <= code < 1000:  # noqa: PLR2004 - three digits, RFC 9110 section 15
        code = 0
    message = status.get("message")
    details = status.get("details")
    seconds = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds <= 0:
        seconds = None
    text = message if isinstance(message, str) else ""
    reason = status.get("reason")
    if code == 0 and reason == "Expired":
        return ApiFailure(FailureKind.GONE, 0, printable(text))
    return ApiFailure(_kind(code, text), code, printable(text), None if seconds is None else min(float(seconds), MAX_RETRY_AFTER_S))


def printable(text: str) -> str:
    """Return the beginning of a foreign text as one line that may stand in a log."""
    cut = text[:MAX_MESSAGE_CHARS]
    return "".join(character if character.isprintable() else " " for character in cut)


def _kind(status: int, message: str) -> FailureKind:
    known = _KINDS.get(status)
    if known is not None:
        return known
    if status == 504 and TOO_LARGE_VERSION in message.lower():  # noqa: PLR2004 - Gateway Timeout, RFC 9110 section 15.6.5
        return FailureKind.GONE
    # 405, 406, 409, 415 and so on: what was asked for is nothing that this server does now; ``status`` tells them apart.
    return FailureKind.UNSUPPORTED if 400 <= status < 500 else FailureKind.SERVER_ERROR  # noqa: PLR2004 - RFC 9110 section 15.5


def _seconds(header: str | None) -> float | None:
    text = "" if header is None else header.strip()
    return min(float(text), MAX_RETRY_AFTER_S) if RETRY_AFTER.fullmatch(text) else None
