"""A decision as a line of the audit log. Pure, but for the cache of what tokens say.

A line is one JSON object. Each text in it is bounded and has only characters that print, so none can end the line or begin another one. It
has no token, no path and no query; with keys, it has no identity of a user, client or actor either.

Sources: RFC 8693 section 4.1 (``act``, https://www.rfc-editor.org/rfc/rfc8693#section-4.1), RFC 9068 section 2.2 (``client_id``).
"""

import functools
import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import Final, TypeVar, final

import attrs
import orjson

from exchanger.authz.audit.identities import AuditKey, plain
from exchanger.authz.decision.outcome import Allow, DecisionReason, DecisionRecord, Deny, Exchange
from exchanger.exchange.oauth.issued_token import tells
from exchanger.formats.jwt.claims import SCOPE_CLAIMS, scopes_of, split_scope
from exchanger.formats.jwt.compact import read_payload
from exchanger.formats.jwt.refusal import TokenRefused
from exchanger.model.entry import Source, TokenTarget
from exchanger.model.issuer import MAX_ACTORS
from exchanger.model.secret import Secret
from exchanger.model.text import ISSUER_LIMIT, METHOD_LIMIT, POLICY_LIMIT, loggable_host, loggable_request_id
from exchanger.model.token import UNREADABLE_SCOPE
from exchanger.util.text import ELLIPSIS, printable, without_secrets

GRANTED: Final = "exchange.granted"
REFUSED: Final = "exchange.denied"

# Characters of a token's id; RFC 7519 has no limit, and UUIDs have 36.
_JTI_LIMIT: Final = 128
# Characters of a URL or an audience, and of a scope; audiences, and scopes.
_TEXT_LIMIT: Final = 512
_SCOPE_LIMIT: Final = 1024
_MAX_LISTED: Final = 32
_MAX_SCOPES: Final = 128
# Tokens of each kind whose claims are kept by digest, as many as results of verification: 600 bytes each. The oldest go first.
MAX_KNOWN: Final = 20_000
# The client that a token was issued to: RFC 9068, OpenID Connect Core section 2, and Entra ID's v1 tokens.
_CLIENT_CLAIMS: Final = ("client_id", "azp", "appid")
_IDENTITIES: Final = ("sub", *_CLIENT_CLAIMS)

Party = dict[str, str | None]
K = TypeVar("K")
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
    """What is known of an issued token: its id, and which scope was granted."""

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
    _known_issued: dict[tuple[bytes, str | bytes | None, str | None], IssuedFacts] = attrs.field(factory=dict, init=False, repr=False)

    def use_key(self, key: AuditKey) -> None:
        """Write identities with ``key`` from now on."""
        self._key = key
        self._known.clear()
        self._known_issued.clear()

    def line(self, record: DecisionRecord) -> bytes:
        """Return the line about ``record``, which is granted or refused, with its newline."""
        request, outcome, exchange = record.request, record.outcome, record.exchange
        entry = _entry(outcome.source, outcome.issuer, None if exchange is None else exchange.target)
        said = _NOTHING
        if exchange is not None and exchange.subject_token is not None:
            said = self._facts(exchange.subject_token, b"" if outcome.subject is None else outcome.subject.said)
        allow = outcome if type(outcome) is Allow else None
        token = None if allow is None else allow.access_token
        issued = _NOT_ISSUED if token is None else self._issued_facts(token, exchange, entry.scope)
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
            "scope_requested": entry.scope,
            "scope_granted": issued.scope,
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

    def _facts(self, token: Secret, stated: bytes) -> TokenFacts:
        """Return what ``token`` says, or what its issuer has ``stated`` instead."""
        text = token.reveal()
        key = hashlib.sha256(stated).digest() if stated else _digest(text)
        known = self._known.get(key)
        if known is None:
            claims = json.loads(stated) if stated else read_payload(text)
            known = _keep(self._known, key, _NOTHING if isinstance(claims, TokenRefused) else self._read(claims))
        return known

    def _issued_facts(self, token: Secret, exchange: Exchange | None, asked: str | None) -> IssuedFacts:
        text, stated = token.reveal(), None if exchange is None else exchange.scope
        # Its issuer chooses how long the scope is, of which 20,000 are kept.
        key = _digest(text), stated if stated is None or len(stated) <= _SCOPE_LIMIT else _digest(stated), asked
        known = self._known_issued.get(key)
        if known is None:
            subject = None if exchange is None else exchange.subject_token
            known = _keep(self._known_issued, key, self._issued(text, stated, asked, "" if subject is None else subject.reveal()))
        return known

    def _issued(self, token: str, stated: str | None, asked: str | None, subject: str) -> IssuedFacts:
        """Return what is known of an issued ``token``. Its issuer may have written anything into it, and into the scope it ``stated``."""
        found = read_payload(token)
        claims = {} if isinstance(found, TokenRefused) else found
        granted = _granted(claims, stated, asked)
        scope = None if granted is None else self._shown_scope(dict.fromkeys(granted), split_scope(asked or ""), token, subject)
        return IssuedFacts(_text(claims.get("jti"), _JTI_LIMIT), scope)

    def _shown_scope(self, granted: Collection[str], asked: list[str], *tokens: str) -> str:
        """Return the scope without tokens, and without identities if these are keyed. Scopes that were ``asked`` for are shown."""
        hidden = [*tokens]
        if self._key is not None and not all(item in asked for item in granted):
            for token in tokens:
                said = read_payload(token)
                if not isinstance(said, TokenRefused):
                    hidden += [value for name in _IDENTITIES if isinstance(value := said.get(name), str)]
        shown = [ELLIPSIS if item not in asked and tells(item, hidden) else item for item in islice(granted, _MAX_SCOPES)]
        return printable(" ".join([*shown, *[ELLIPSIS] * (len(granted) > _MAX_SCOPES)]), _SCOPE_LIMIT)

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


def _granted(claims: Mapping[str, object], stated: str | None, asked: str | None) -> list[str] | None:
    """Return the scope that was granted, ``None`` if that is not known: as the token endpoint ``stated`` it, otherwise as the token does.

    If neither does, it is the one that was asked for (RFC 8693 section 2.2.1).
    """
    if stated is not None and stated != UNREADABLE_SCOPE:
        return split_scope(stated)
    named = [name for name in SCOPE_CLAIMS if name in claims]
    if not named:
        return None if stated is not None or asked is None else split_scope(asked)
    granted = [scopes_of(claims[name]) for name in named]
    return None if None in granted else [item for items in granted if items for item in items]


# There are few, unless callers make them up.
@functools.lru_cache(maxsize=256)
def _shown_issuer(issuer: str) -> str:
    return printable(without_secrets(issuer), _TEXT_LIMIT)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _keep(known: dict[K, F], key: K, facts: F) -> F:
    known[key] = facts
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
