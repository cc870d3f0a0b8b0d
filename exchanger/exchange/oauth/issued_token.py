"""Judges a token that was issued: whether it is the one that was requested. Issuers do answer with a token for another audience or user.

An upstream reads the token and not the response, so both count. A claim that is missing fails the rule about it; a claim of the wrong type
cannot be verified.

Sources: RFC 8693 sections 2.2.1 (https://www.rfc-editor.org/rfc/rfc8693#section-2.2.1) and 4.1, RFC 9068 section 2.2, RFC 7519 sections 4.1
and 6, RFC 7800 section 3.1.

Must not know: calls, clocks, or where keys come from.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, final

import attrs

from exchanger.exchange.oauth.token_response import unusable
from exchanger.formats.jwt.claims import LEEWAY, SCOPE_CLAIMS, actors_of, audiences_of, scopes_of, split_scope, time_of
from exchanger.formats.jwt.compact import Compact, read_payload, take_apart
from exchanger.formats.jwt.refusal import TokenRefused
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import ActorRule, ActorToken, Assertion, AssertionRules, IssuedTokenRules, Issuer
from exchanger.model.secret import Secret
from exchanger.model.token import (
    UNREADABLE_SCOPE,
    ErrorKind,
    ExchangedToken,
    ExchangeFailure,
    IssuedMismatch,
    ShownClaims,
    TokenRequest,
)
from exchanger.util.shown import measured
from exchanger.util.text import ELLIPSIS, printable

# A JWT in compact form has two; a token with any other number is opaque to every reader of JWTs.
_DOTS: Final = 2
# ``alg`` of a JWT that anybody can write (RFC 7518 section 3.6). Some libraries compare it without case.
_UNSIGNED_ALGORITHMS: Final = frozenset({"", "none"})
# ``typ`` of an ID-JAG, in lower case (RFC 7515 section 4.1.9).
ID_JAG_TYPES: Final = frozenset({"oauth-id-jag+jwt", "application/oauth-id-jag+jwt"})
# Characters of each text that is shown, and of one member of a list; and members of a list.
SHOWN: Final = 256
_SHOWN_MEMBER: Final = 128
_SHOWN_MEMBERS: Final = 16
# Characters of a text that is looked for in secrets, of which it may be a part; and of a secret that is looked for in texts.
_TELLING: Final = 16
_LEAST_SECRET: Final = 4

_KINDS: Final = {
    Diagnostic.ISSUED_FOR_OTHERS: ErrorKind.ISSUED_FOR_OTHERS,
    Diagnostic.ISSUED_BEYOND_REQUEST: ErrorKind.ISSUED_BEYOND_REQUEST,
    Diagnostic.ISSUED_UNVERIFIED: ErrorKind.ISSUED_UNVERIFIED,
}


@final
@attrs.frozen
class IssuedFault:
    """What is wrong with a token; ``claim`` is "" if it is not about one."""

    diagnostic: Diagnostic
    claim: str
    why: str


_NOTHING_REQUESTED: Final = IssuedFault(
    Diagnostic.ISSUED_UNVERIFIED, "aud", "the policy asks for no audience and no resource, so the token's cannot be compared"
)
_OTHER_ACTOR: Final = IssuedFault(
    Diagnostic.ISSUED_FOR_OTHERS, "act", "the issued token names another actor than the request, or lacks the request's"
)
_OPAQUE: Final = IssuedFault(Diagnostic.ISSUED_UNVERIFIED, "", "the issued token is not a JWT")
NO_KEYS: Final = IssuedFault(Diagnostic.ISSUED_UNVERIFIED, "", "the keys of the issuer are not available")
UNSIGNED: Final = IssuedFault(Diagnostic.ISSUED_UNVERIFIED, "", "the issued token has a signature that none of the issuer's keys verifies")


def judge_issued(rules: IssuedTokenRules, request: TokenRequest, issued: ExchangedToken, now: float) -> ExchangeFailure | None:
    """Return why ``issued`` is not the token that ``request`` asks for, ``None`` if it is, at ``now`` (seconds since the epoch)."""
    fault = _fault(rules, request, issued, now)
    return None if fault is None else mismatch(fault, rules, request, issued)


def is_opaque(token: str) -> bool:
    """Return whether no reader of JWTs can take ``token`` for one."""
    return token.count(".") != _DOTS


def _fault(rules: IssuedTokenRules, request: TokenRequest, issued: ExchangedToken, now: float) -> IssuedFault | None:
    audiences = _requested(rules, request)
    if not audiences:
        return _NOTHING_REQUESTED
    text = issued.access_token.reveal()
    if is_opaque(text):
        return _scope_fault(rules, request, issued.scope, {}) if rules.opaque else _OPAQUE
    read = take_apart(text)
    if isinstance(read, TokenRefused):
        return unreadable(read)
    claims = read.claims
    return (
        _issuer_fault(rules, claims)
        or _audience_fault(audiences, claims)
        or (_subject_fault(rules.subject, request.subject_token, claims) if rules.subject else None)
        or _scope_fault(rules, request, issued.scope, claims)
        or (None if rules.max_lifetime is None else _lifetime_fault(now + rules.max_lifetime, claims))
        or _validity_fault(claims, now)
        or _use_fault(read)
        or _actor_fault(rules, request, issued, claims)
        or (None if rules.assertion is None else _assertion_fault(rules.assertion, read))
    )


def unreadable(refused: TokenRefused) -> IssuedFault:
    """Return that the token cannot be read strictly, or says that it is signed in a way that is not accepted."""
    return IssuedFault(Diagnostic.ISSUED_UNVERIFIED, "", f"the issued token {refused.reason.value}")


def _requested(rules: IssuedTokenRules, request: TokenRequest) -> tuple[str, ...]:
    return rules.audiences or request.target.audiences or request.target.resources


def _issuer_fault(rules: IssuedTokenRules, claims: Mapping[str, object]) -> IssuedFault | None:
    issuer = claims.get("iss", "")
    if not isinstance(issuer, str):
        return _malformed("iss", "is not a string")
    if rules.issuer in ("", issuer):
        return None
    return IssuedFault(Diagnostic.ISSUED_FOR_OTHERS, "iss", "the issued token is from another issuer")


def _audience_fault(audiences: tuple[str, ...], claims: Mapping[str, object]) -> IssuedFault | None:
    named = audiences_of(claims.get("aud", []))
    if named is None:
        return _malformed("aud", "is neither a string nor a list of strings")
    if not named:
        return IssuedFault(Diagnostic.ISSUED_FOR_OTHERS, "aud", "the issued token names no audience")
    if all(name in audiences for name in named):
        return None
    return IssuedFault(Diagnostic.ISSUED_FOR_OTHERS, "aud", "the issued token is for an audience that was not requested")


def _subject_fault(claim: str, subject_token: Secret, claims: Mapping[str, object]) -> IssuedFault | None:
    theirs = read_payload(subject_token.reveal())
    if isinstance(theirs, TokenRefused):
        return IssuedFault(Diagnostic.ISSUED_UNVERIFIED, claim, f"the caller's token {theirs.reason.value}")
    wanted, found = theirs.get(claim), claims.get(claim)
    if not isinstance(wanted, str) or not wanted:
        return IssuedFault(Diagnostic.ISSUED_UNVERIFIED, claim, "the claim is missing in the caller's token, or is not a string")
    if claim in claims and not isinstance(found, str):
        return _malformed(claim, "is not a string")
    return None if found == wanted else IssuedFault(Diagnostic.ISSUED_FOR_OTHERS, claim, "the issued token is about another subject")


def _scope_fault(rules: IssuedTokenRules, request: TokenRequest, response: str | None, claims: Mapping[str, object]) -> IssuedFault | None:
    if not rules.scope:
        return None
    if response == UNREADABLE_SCOPE:
        return IssuedFault(Diagnostic.ISSUED_UNVERIFIED, "scope", "the response's scope is not a string")
    allowed = {*split_scope(request.target.scope), *rules.scope_also}
    if response is not None and not allowed.issuperset(split_scope(response)):
        return IssuedFault(Diagnostic.ISSUED_BEYOND_REQUEST, "scope", "the response grants a scope that was not requested")
    for claim in SCOPE_CLAIMS:
        if claim in claims:
            granted = scopes_of(claims[claim])
            if granted is None:
                return _malformed(claim, "is neither a string nor a list of strings")
            if not allowed.issuperset(granted):
                return IssuedFault(Diagnostic.ISSUED_BEYOND_REQUEST, claim, "the issued token grants a scope that was not requested")
    return None


def _lifetime_fault(latest: float, claims: Mapping[str, object]) -> IssuedFault | None:
    if "exp" not in claims:
        return IssuedFault(Diagnostic.ISSUED_BEYOND_REQUEST, "exp", "the issued token does not say when it expires")
    expires = time_of(claims["exp"])
    if expires is None:
        return _malformed("exp", "is not a number")
    return None if expires <= latest else IssuedFault(Diagnostic.ISSUED_BEYOND_REQUEST, "exp", "the issued token is valid for too long")


def _validity_fault(claims: Mapping[str, object], now: float) -> IssuedFault | None:
    """Return why the token is not valid at ``now``. ``exp`` has no leeway: nobody needs a token that has ended before it is first used."""
    if "exp" in claims:
        expires = time_of(claims["exp"])
        if expires is None:
            return _malformed("exp", "is not a number")
        if now >= expires:
            return IssuedFault(Diagnostic.ISSUED_UNVERIFIED, "exp", "the issued token has expired")
    if "nbf" in claims:
        begins = time_of(claims["nbf"])
        if begins is None:
            return _malformed("nbf", "is not a number")
        if now < begins - LEEWAY:
            return IssuedFault(Diagnostic.ISSUED_UNVERIFIED, "nbf", "the issued token is not valid yet")
    return None


def _use_fault(read: Compact) -> IssuedFault | None:
    """Return why an upstream must not accept the token from the caller. Whatever ``cnf`` holds, nobody here can prove its key."""
    algorithm = read.header.get("alg")
    # All names of algorithms are visible ASCII. A careless reader may cut others, or take them for "none".
    name = algorithm if isinstance(algorithm, str) and algorithm.isascii() and algorithm.isprintable() else ""
    if name.strip().lower() in _UNSIGNED_ALGORITHMS:
        return IssuedFault(Diagnostic.ISSUED_UNVERIFIED, "alg", "the issued token is not signed")
    if "cnf" in read.claims:
        return IssuedFault(Diagnostic.ISSUED_FOR_OTHERS, "cnf", "the issued token is bound to a key, which no caller can prove for it")
    return None


def _actor_fault(
    rules: IssuedTokenRules, request: TokenRequest, issued: ExchangedToken, claims: Mapping[str, object]
) -> IssuedFault | None:
    actor = request.issuer.grant.actor
    rule = rules.actor or (ActorRule.SAME if actor is None else ActorRule.ANY)
    if rule is ActorRule.ANY or ("act" not in claims and (rule is ActorRule.NONE or actor is None)):
        return None
    found = _actors_in(claims)
    if rule is ActorRule.NONE or found == ():
        return _OTHER_ACTOR
    if found is None:
        return _malformed("act", "is not a chain of actors with a sub each")
    before = _actors_in(_claims_of(request.subject_token)) or ()
    if actor is None:
        named = any(found[0].is_like(_Actor(client)) for client in _clients(request.issuer))
        return None if _is_chain(found, before) or (named and _is_chain(found[1:], before)) else _OTHER_ACTOR
    sent = actor.token if isinstance(actor, ActorToken) else issued.actor_token
    ours = None if sent is None else _Actor.of(_claims_of(sent))
    if ours is None:
        return IssuedFault(Diagnostic.ISSUED_UNVERIFIED, "act", "the actor's token is not a JWT with a sub")
    return None if found[0].is_like(ours) and _is_chain(found[1:], before) else _OTHER_ACTOR


def _clients(issuer: Issuer) -> Iterator[str]:
    """Yield this service's client ids: that at ``issuer``, and at the first of two issuers."""
    yield issuer.credentials.client_id
    if issuer.assertion is not None and issuer.assertion.issuer is not None:
        yield from _clients(issuer.assertion.issuer)


@final
@attrs.frozen
class _Actor:
    """An actor as a token names it (RFC 8693 section 4.1); ``issuer`` is "" if it does not say whose ``subject`` that is."""

    subject: str
    issuer: str = ""

    @classmethod
    def of(cls, claims: Mapping[str, object]) -> "_Actor | None":
        """Return the actor that ``claims`` are about, ``None`` if they name nobody. A client may be named by its ``client_id`` alone."""
        subject, issuer = claims.get("sub", claims.get("client_id")), claims.get("iss", "")
        return cls(subject, issuer) if isinstance(subject, str) and subject and isinstance(issuer, str) else None

    def is_like(self, other: "_Actor") -> bool:
        """Whether both are the same actor; an issuer counts where both say it."""
        return self.subject == other.subject and (not self.issuer or not other.issuer or self.issuer == other.issuer)


def _is_chain(found: tuple[_Actor, ...], before: tuple[_Actor, ...]) -> bool:
    """Return whether ``found`` are the actors ``before``, or the latest of them: an issuer need not name earlier ones."""
    return len(found) <= len(before) and all(one.is_like(other) for one, other in zip(found, before, strict=False))


def _actors_in(claims: Mapping[str, object]) -> tuple[_Actor, ...] | None:
    """Return the chain of actors, the present one first; ``None`` if it cannot be read."""
    if "act" in claims and actors_of(claims["act"]) is None:  # which bounds its depth
        return None
    chain: list[_Actor] = []
    level: object = claims
    while isinstance(level, Mapping) and "act" in level:
        level = level["act"]
        actor = _Actor.of(level) if isinstance(level, Mapping) else None
        if actor is None:
            return None
        chain.append(actor)
    return tuple(chain)


def _assertion_fault(rules: AssertionRules, read: Compact) -> IssuedFault | None:
    """Return why the second issuer would refuse the assertion, or why it is for another client of it.

    An assertion that is not for this one must not be sent, even if another issuer accepts it.
    """
    if "exp" not in read.claims:
        return IssuedFault(Diagnostic.ISSUED_UNVERIFIED, "exp", "the assertion does not say when it expires")
    if not rules.client_id:
        return None
    kind, client_id = read.header.get("typ", ""), read.claims.get("client_id", "")
    if not isinstance(kind, str):
        return _malformed("typ", "is not a string")
    if kind.lower() not in ID_JAG_TYPES:
        return IssuedFault(Diagnostic.ISSUED_FOR_OTHERS, "typ", "the assertion is not an ID-JAG")
    if not isinstance(client_id, str):
        return _malformed("client_id", "is not a string")
    if client_id != rules.client_id:
        return IssuedFault(Diagnostic.ISSUED_FOR_OTHERS, "client_id", "the assertion is for another client")
    return None


def _malformed(claim: str, what: str) -> IssuedFault:
    return IssuedFault(Diagnostic.ISSUED_UNVERIFIED, claim, f"the claim {what} in the issued token")


def mismatch(fault: IssuedFault, rules: IssuedTokenRules, request: TokenRequest, issued: ExchangedToken) -> ExchangeFailure:
    """Return the failure of an exchange whose token has this ``fault``. Nothing in it tells a subject or a secret."""
    found = _claims_of(issued.access_token)
    hidden = tuple(_hidden(rules, request, issued, found))
    issuer = found.get("iss")
    granted = [*split_scope(issued.scope or ""), *(item for claim in SCOPE_CLAIMS for item in scopes_of(found.get(claim)) or ())]
    return attrs.evolve(
        unusable(fault.diagnostic, _KINDS[fault.diagnostic]),
        call=issued.call,
        cache=issued.cache,
        detail=fault.why,
        mismatch=IssuedMismatch(
            printable(fault.claim),
            ShownClaims(
                printable(rules.issuer, SHOWN),
                _listed(_requested(rules, request), hidden),
                _joined(split_scope(request.target.scope), hidden),
            ),
            ShownClaims(
                _joined([issuer], hidden) if isinstance(issuer, str) else "",
                _listed(audiences_of(found.get("aud", [])) or (), hidden),
                _joined(granted, hidden),
            ),
        ),
    )


def _listed(members: Sequence[str], hidden: tuple[str, ...]) -> str:
    """Return a list as JSON, in which each member can be told from the next."""
    return printable(json.dumps(_shown(members, hidden), ensure_ascii=False), SHOWN) if members else ""


def _joined(members: Iterable[str], hidden: tuple[str, ...]) -> str:
    return printable(" ".join(_shown(members, hidden)), SHOWN)


def _shown(members: Iterable[str], hidden: tuple[str, ...]) -> list[str]:
    """Return the first of ``members``, each once; long ones by their length. An issuer may have written a secret into them."""
    return [
        measured(member) if len(member) > _SHOWN_MEMBER else ELLIPSIS if tells(member, hidden) else member
        for member in islice(dict.fromkeys(members), _SHOWN_MEMBERS)
    ]


def tells(text: str, hidden: Sequence[str]) -> bool:
    """Return whether ``text`` shows one of what is ``hidden``, or a part of it."""
    whole = (secret == text or (len(secret) >= _LEAST_SECRET and secret in text) for secret in hidden)
    return any(whole) or (len(text) >= _TELLING and any(text in secret for secret in hidden))


def _claims_of(token: Secret) -> Mapping[str, object]:
    claims = read_payload(token.reveal())
    return {} if isinstance(claims, TokenRefused) else claims


def _hidden(rules: IssuedTokenRules, request: TokenRequest, issued: ExchangedToken, claims: Mapping[str, object]) -> Iterator[str]:
    """Yield what no text may show: tokens and secrets that the issuer has seen, and whom both tokens are about."""
    proof, actor = request.issuer.credentials.proof, request.issuer.grant.actor
    held = (
        *(issued.access_token, request.subject_token, issued.actor_token),
        *(proof.text if isinstance(proof, Assertion) else proof, actor.token if isinstance(actor, ActorToken) else None),
    )
    subjects = (read.get(claim) for read in (claims, _claims_of(request.subject_token)) for claim in ("sub", rules.subject))
    yield from (secret.reveal() for secret in held if isinstance(secret, Secret))
    yield from (subject for subject in subjects if isinstance(subject, str) and subject)
