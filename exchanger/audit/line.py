"""A decision as a line of the audit log. Pure, but for the cache of what tokens say.

A line is one JSON object. Each text in it is bounded and has only characters that print, so none can end the line or begin another one. It
has no token, no path and no query; with keys, it has no identity of a user, client or actor either.

Sources: RFC 8693 section 4.1 (``act``, https://www.rfc-editor.org/rfc/rfc8693#section-4.1), RFC 9068 section 2.2 (``client_id``).
"""

import binascii
import contextlib
import functools
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar, final

import attrs
import orjson

from exchanger.audit.identities import AuditKey, plain
from exchanger.decision.outcome import Allow, DecisionReason, DecisionRecord, Deny, Exchange
from exchanger.jwt.compact import read_payload
from exchanger.jwt.refusal import TokenRefused
from exchanger.util.text import printable, without_secrets
from exchanger.values.entry import Source, TokenTarget
from exchanger.values.issuer import MAX_ACTORS
from exchanger.values.secret import Secret
from exchanger.values.text import ISSUER_LIMIT, METHOD_LIMIT, POLICY_LIMIT, loggable_host, loggable_request_id
from exchanger.values.token import UNREADABLE_SCOPE

GRANTED: Final = "exchange.granted"
REFUSED: Final = "exchange.refused"

# Characters of a token's id; RFC 7519 has no limit, and UUIDs have 36.
_JTI_LIMIT: Final = 128
# Characters of a URL, a scope, and an audience, and the number of audiences.
_TEXT_LIMIT: Final = 512
_SCOPE_LIMIT: Final = 1024
_MAX_LISTED: Final = 32
# Tokens of each kind whose claims are kept by digest, as many as verdicts: 600 bytes each. The oldest go first.
MAX_KNOWN: Final = 20_000
# The client that a token was issued to: RFC 9068, OpenID Connect Core section 2, and Entra ID's v1 tokens.
_CLIENT_CLAIMS: Final = ("client_id", "azp", "appid")

Party = dict[str, str | None]
F = TypeVar("F")


@final
@attrs.frozen
class TokenFacts:
    """What a token says, ready for a line: ``subject`` and ``actors``, of which there are ``depth``, are JSON."""

    subject: bytes = b"null"
    actors: bytes = b"[]"
    depth: int = 0
    jti: str | None = None


@final
@attrs.frozen
class IssuedFacts:
    """What an issued token says."""

    jti: str | None = None
    scope: str | None = None


_NOTHING: Final = TokenFacts()
_NOT_ISSUED: Final = IssuedFacts()


def is_granted(record: DecisionRecord) -> bool:
    """Return whether the request gets an exchanged token."""
    return type(record.outcome) is Allow and record.outcome.access_token is not None


def is_refused(record: DecisionRecord) -> bool:
    """Return whether an exchange was needed and refused."""
    return record.outcome.reason is DecisionReason.DENY_EXCHANGE_ERROR


@final
@attrs.define(eq=False)
class LineWriter:
    """Makes lines. ``key`` is the one that identities are written with, ``None`` for plain ones; ``stamp`` returns the present time."""

    stamp: Callable[[], str]
    _key: AuditKey | None = None
    _known: dict[bytes, TokenFacts] = attrs.field(factory=dict, init=False, repr=False)
    _known_issued: dict[bytes, IssuedFacts] = attrs.field(factory=dict, init=False, repr=False)

    def use_key(self, key: AuditKey) -> None:
        """Write identities with ``key`` from now on."""
        self._key = key
        self._known.clear()

    def line(self, record: DecisionRecord) -> bytes:
        """Return the line about ``record``, which is granted or refused, with its newline."""
        request, outcome, exchange = record.request, record.outcome, record.exchange
        entry = _entry(outcome.source, outcome.issuer, None if exchange is None else exchange.target)
        said = _NOTHING if exchange is None or exchange.subject_token is None else self._facts(exchange.subject_token)
        allow = outcome if type(outcome) is Allow else None
        issued = _NOT_ISSUED if allow is None or allow.access_token is None else self._issued_facts(allow.access_token)
        line = {
            "time": self.stamp(),
            "event": REFUSED if allow is None else GRANTED,
            "reason": reason_of(record),
            "code": _code(record),
            "gateway": record.asked_by.value,
            "host": loggable_host(request.host),
            "method": printable(request.method, METHOD_LIMIT),
            "policy": entry.policy,
            "entry": outcome.entry_index,
            "namespace": entry.namespace,
            "issuer": entry.issuer,
            "subject": orjson.Fragment(said.subject),
            "verified": _verified(record),
            "actors": orjson.Fragment(said.actors),
            "depth": said.depth,
            "audience": entry.audience,
            "resources": entry.resources,
            "scope_asked": entry.scope,
            "scope_granted": None if allow is None else _scope_granted(exchange, issued.scope, entry.scope),
            "subject_jti": said.jti,
            "issued_jti": issued.jti,
            "expires_at": None if allow is None else allow.expires_at,
            "cache": outcome.cache.value,
            "trace_id": record.trace_id,
            "request_id": loggable_request_id(request.request_id) or None,
        }
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)

    def summary(self, group: "Group", count: int, since: str) -> bytes:
        """Return the line for ``count`` refusals since then that have no lines of their own, with its newline."""
        reason, code, issuer, namespace = group
        line = {
            "time": self.stamp(),
            "event": REFUSED,
            "reason": reason,
            "code": code,
            "namespace": namespace,
            "issuer": issuer,
            "verified": "none",
            "count": count,
            "since": since,
        }
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)

    def _facts(self, token: Secret) -> TokenFacts:
        text = token.reveal()
        digest = _digest(text)
        known = self._known.get(digest)
        if known is None:
            claims = _claims(text)
            known = _keep(self._known, digest, _NOTHING if claims is None else self._read(claims))
        return known

    def _issued_facts(self, token: Secret) -> IssuedFacts:
        text = token.reveal()
        digest = _digest(text)
        known = self._known_issued.get(digest)
        return _keep(self._known_issued, digest, _issued(text)) if known is None else known

    def _read(self, claims: Mapping[str, object]) -> TokenFacts:
        actors, jti = self._actors(claims), _text(claims.get("jti"), _JTI_LIMIT)
        return TokenFacts(orjson.dumps(self._party(claims)), orjson.dumps(actors) if actors else b"[]", len(actors), jti)

    def _actors(self, claims: Mapping[str, object]) -> list[Party]:
        """Return the chain of actors, the current one first; longer ones are not accepted, so their end is left out."""
        found: list[Party] = []
        act = claims.get("act")
        while isinstance(act, dict) and len(found) < MAX_ACTORS:
            found.append(self._party(act))
            act = act.get("act")
        return found

    def _party(self, claims: Mapping[str, object]) -> Party:
        issuer, subject = claims.get("iss"), claims.get("sub")
        client = next((claims[name] for name in _CLIENT_CLAIMS if name in claims), None)
        return {
            "iss": _shown_issuer(issuer) if isinstance(issuer, str) else None,
            "sub": self._identity(subject) if isinstance(subject, str) else None,
            "client_id": self._identity(client) if isinstance(client, str) else None,
        }

    def _identity(self, text: str) -> str:
        return plain(text) if self._key is None else self._key.of_identity(text)


# Reason, code, issuer profile and namespace.
Group = tuple[str, str | None, str, str | None]


def group_of(record: DecisionRecord) -> Group:
    """Return what a refusal is counted by."""
    source = record.outcome.source
    namespace = None if source is None else printable(source.namespace, POLICY_LIMIT)
    return reason_of(record), _code(record), printable(record.outcome.issuer, ISSUER_LIMIT), namespace


def reason_of(record: DecisionRecord) -> str:
    """Return why: of a refusal the kind of the failure, as the metrics have it."""
    outcome = record.outcome
    return outcome.error_kind.value if type(outcome) is Deny and outcome.error_kind is not None else outcome.reason.value


def _code(record: DecisionRecord) -> str | None:
    outcome = record.outcome
    return outcome.diagnostic.value if type(outcome) is Deny and outcome.diagnostic is not None else None


def _verified(record: DecisionRecord) -> str:
    """Return who vouches for the identity."""
    outcome = record.outcome
    if outcome.subject is not None and not outcome.subject.refusal:
        return "introspection" if outcome.subject.introspected else "keys"
    return "issuer" if type(outcome) is Allow else "none"


def _scope_granted(exchange: Exchange | None, in_token: str | None, asked: str | None) -> str | None:
    """Return the scope of the issued token.

    Without a word of the token endpoint it is the one that was asked for (RFC 8693 section 2.2.1), unless the token itself names another.
    """
    stated = None if exchange is None else exchange.scope
    if stated is None:
        return in_token or asked
    return in_token if stated == UNREADABLE_SCOPE else printable(stated, _SCOPE_LIMIT)


# There are few, unless callers make them up.
@functools.lru_cache(maxsize=256)
def _shown_issuer(issuer: str) -> str:
    return printable(without_secrets(issuer), _TEXT_LIMIT)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _keep(known: dict[bytes, F], digest: bytes, facts: F) -> F:
    known[digest] = facts
    if len(known) > MAX_KNOWN:
        del known[next(iter(known))]
    return facts


def _text(value: object, limit: int) -> str | None:
    return printable(value, limit) if isinstance(value, str) else None


@final
@attrs.frozen
class _Entry:
    """What an entry of a policy contributes to lines."""

    policy: str | None
    namespace: str | None
    issuer: str
    audience: tuple[str, ...]
    resources: tuple[str, ...]
    scope: str | None


# Keys belong to the policy, are bounded in number, and keep their hashes.
@functools.lru_cache(maxsize=4096)
def _entry(source: Source | None, issuer: str, target: TokenTarget | None) -> _Entry:
    return _Entry(
        None if source is None else printable(str(source), POLICY_LIMIT),
        None if source is None else printable(source.namespace, POLICY_LIMIT),
        printable(issuer, ISSUER_LIMIT),
        () if target is None else _listed(target.audiences),
        () if target is None else _listed(target.resources),
        None if target is None else printable(target.scope, _SCOPE_LIMIT),
    )


def _listed(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(printable(text, _TEXT_LIMIT) for text in texts[:_MAX_LISTED])


def _issued(token: str) -> IssuedFacts:
    """Return what an issued token says of itself, which is its issuer's own word."""
    parts = token.split(".", 3) if len(token) <= _USUAL else ()
    if len(parts) == _PARTS:
        with contextlib.suppress(ValueError):
            claims = orjson.loads(_decoded(parts[1]))
            if isinstance(claims, dict):
                return IssuedFacts(_text(claims.get("jti"), _JTI_LIMIT), _text(claims.get("scope"), _SCOPE_LIMIT))
    return IssuedFacts()


def _claims(token: str) -> Mapping[str, object] | None:
    """Return the claims of a caller's ``token`` as ``read_payload`` does, and mostly several times as fast.

    Text without escapes in which a name is found once has it once, so it has one reading, whichever member counts for a reader. Claims that
    are not looked for here may occur twice.
    """
    parts = token.split(".", 3) if len(token) <= _USUAL else ()
    if len(parts) == _PARTS:
        with contextlib.suppress(ValueError):
            data = _decoded(parts[1])
            names = _find_names(data)
            if b"\\" not in data and len(names) == len(set(names)):
                claims = orjson.loads(data)
                return claims if isinstance(claims, dict) else None
    found = read_payload(token)
    return None if isinstance(found, TokenRefused) else found


def _decoded(segment: str) -> bytes:
    return binascii.a2b_base64(segment.encode("ascii").translate(_ALPHABET) + b"=" * (-len(segment) % 4), strict_mode=True)


# base64url; the two characters that only base64 has become ones that neither has.
_ALPHABET: Final = bytes.maketrans(b"-_+/", b"+/\0\0")


_PARTS: Final = 3  # header, payload, signature
# Characters of a token that is read in the quick way: reading the largest that callers can send would take milliseconds.
_USUAL: Final = 8192
_find_names: Final = re.compile(f'"(?:iss|sub|act|jti|{"|".join(_CLIENT_CLAIMS)})"'.encode()).findall
