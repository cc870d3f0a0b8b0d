"""The answer to a request as a value: expected and observed answers are compared by equality and shown in the same words."""

import enum
import hashlib
import json
import re
from collections.abc import Callable
from typing import assert_never, final

import attrs

from exchanger.commands.scenarios.tokens import CHAT_CLIENT_ID, CLIENT_ID, bearer_of
from exchanger.formats.jwt.unverified import claims_of
from exchanger.net.http.message import Response
from exchanger.util.text import ELLIPSIS

_DIAGNOSTIC = re.compile(r"TXE-\d{4}")
CLAIMS = "token_claims"  # the field of the echo with the claims of the token that it received
_LINE = 80  # characters of a refusal; what would be more of its challenges is left out
_SHOWN = 60  # characters of a body that is not a JSON error
_PAGE = "(a page in HTML)"  # such as a gateway's own


@enum.unique
class Reached(enum.Enum):
    """Whether the upstream saw the request, and with which token if none was exchanged."""

    NOT = "not passed on"
    WITHOUT_TOKEN = "passed on without a token"
    WITH_ORIGINAL = "passed on with the original token"
    WITH_OTHER = "passed on with a token that is neither the original nor exchanged for it"
    WITH_BOTH = "passed on with the original token beside the exchanged one"
    WITH_DIFFERENT = "exchanged: differs from what was sent"


@final
@attrs.frozen
class RequestedTarget:
    """The target of an exchange, as in the token request (RFC 8693 section 2.1)."""

    scope: str = ""
    resources: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()


@final
@attrs.frozen
class Exchanged:
    """The upstream saw the request with a token that was exchanged for the caller's, for this target."""

    target: RequestedTarget


Upstream = Reached | Exchanged

# Verifies a token that the upstream saw instead of the one that was sent, which is the second argument.
Recognise = Callable[[str, str], Upstream]


@final
@attrs.frozen
class ScenarioAnswer:
    """The client's result; ``body`` is "" if the upstream answered, since ``upstream`` then has its content."""

    status: int
    body: str = ""
    challenges: tuple[str, ...] = ()
    upstream: Upstream = Reached.NOT
    content_type: str = "application/json"


def exchanged_by_demo(seen: str, sent: str) -> Upstream:
    """Return what the demo's issuers wrote into the token: the subject token, the client and the target."""
    claims = claims_of(seen)
    digest = hashlib.sha256(sent.encode()).hexdigest()[:16]
    if claims is None or claims.get("subject_token_sha256") != digest or claims.get("azp") not in (CLIENT_ID, CHAT_CLIENT_ID):
        return Reached.WITH_OTHER
    return Exchanged(RequestedTarget(str(claims.get("scope", "")), _texts(claims.get("resource")), _texts(claims.get("aud"))))


def differs(_seen: str, _sent: str) -> Upstream:
    """Take any other token for an exchanged one: with an unknown issuer, nothing more can be said."""
    return Reached.WITH_DIFFERENT


def relaxed(answer: ScenarioAnswer) -> ScenarioAnswer:
    """Return ``answer`` as ``differs`` can see it."""
    return attrs.evolve(answer, upstream=Reached.WITH_DIFFERENT) if isinstance(answer.upstream, Exchanged) else answer


def answer_of(response: Response, sent_token: str, recognise: Recognise = exchanged_by_demo) -> ScenarioAnswer:
    """Return the content of ``response`` to a request with ``sent_token`` ("" for none)."""
    body = response.body.decode("utf-8", "replace")
    upstream = _upstream_of(body, sent_token, recognise) if response.status == 200 else Reached.NOT  # noqa: PLR2004 - the echo's only status
    return ScenarioAnswer(
        status=response.status,
        body=body if upstream is Reached.NOT else "",
        challenges=response.values("www-authenticate"),
        upstream=upstream,
        content_type=next(iter(response.values("content-type")), ""),
    )


def describe(answer: ScenarioAnswer) -> str:
    """Return ``answer`` in a few words, to fit a line of the table."""
    match answer.upstream:
        case Reached.NOT:
            # All of it: it may have a token in it, which the code that shows it looks for.
            is_page = answer.content_type.startswith("text/html")
            said = f"{answer.status} {_PAGE if is_page else _error_of(answer.body)}"
            challenges = "".join(f" [{challenge}]" for challenge in answer.challenges)
            room = max(1, _LINE - len(said))
            return said + (challenges if len(challenges) <= room else challenges[: room - 1] + ELLIPSIS)
        case Exchanged(target):
            return f"{answer.status} exchanged for {describe_target(target)}"
        case Reached():
            return f"{answer.status} {answer.upstream.value}"
        case _:
            assert_never(answer.upstream)


def describe_target(target: RequestedTarget) -> str:
    """Return a target in words."""
    parts = (("scope", target.scope), ("resource", " ".join(target.resources)), ("audience", " ".join(target.audiences)))
    return ", ".join(f"{kind} {value}" for kind, value in parts if value) or "nothing"


def exchanged_claims(response: Response) -> dict[str, object]:
    """Return the claims of the token that the upstream saw, not verified; empty without a token."""
    return claims_of(token_seen(response)) or {}


def token_seen(response: Response) -> str:
    """Return the bearer token that the upstream echoed, "" if there is none."""
    return bearer_of(next(iter(authorizations_seen(response.body.decode("utf-8", "replace")) or ("",))))


def authorizations_seen(body: str) -> tuple[str, ...] | None:
    """Return the Authorization headers that the upstream saw; ``None`` if ``body`` is not one of its answers."""
    try:
        seen = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(seen, dict) or not isinstance(seen.get("headers"), dict):
        return None
    return tuple(text for name, value in seen["headers"].items() if str(name).lower() == "authorization" for text in _texts(value))


def _upstream_of(body: str, sent_token: str, recognise: Recognise) -> Upstream:
    authorizations = authorizations_seen(body)
    if authorizations is None:
        return Reached.NOT
    if not authorizations:
        return Reached.WITHOUT_TOKEN
    if authorizations == (f"Bearer {sent_token}",):
        return Reached.WITH_ORIGINAL
    # The whole echo is searched, not only this header: a subject token must not reach the upstream under any name. What the echo decoded
    # from the exchanged token is the issuer's own text; some make the subject token its own subject.
    if sent_token and sent_token in json.dumps({name: value for name, value in json.loads(body).items() if name != CLAIMS}):
        return Reached.WITH_BOTH
    seen = bearer_of(authorizations[0]) if len(authorizations) == 1 else ""
    return recognise(seen, sent_token) if seen else Reached.WITH_OTHER


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _error_of(body: str) -> str:
    try:
        error = json.loads(body)["error"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return body[:_SHOWN] or "(empty)"
    diagnostic = _DIAGNOSTIC.search(body)
    return f"{error} {diagnostic.group()}" if diagnostic else str(error)
