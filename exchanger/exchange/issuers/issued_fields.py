"""The fields of a profile about exchanged tokens: what these must be before they are handed out. As written, with rules and schema.

Must not know: how tokens are verified.
"""

from collections.abc import Iterator
from typing import Final, final

import attrs

from exchanger.exchange.issuers.rules import MAX_ITEMS, ProfileRules, chosen, described, one_of, words_of
from exchanger.formats.yaml.text_rules import NOT_BLANK
from exchanger.model.issuer import ActorRule, GrantType, IssuedTokenRules
from exchanger.net.endpoint import EndpointProblem
from exchanger.util.json_schema import about

# An issuer's clock may be a little ahead, so the shortest is no real lifetime; nobody limits one to more than a year.
MIN_LIFETIME: Final = "1s"
MAX_LIFETIME: Final = "8760h"
# Characters of a claim's name.
MAX_CLAIM: Final = 128

_AUDIENCE: Final = {"requested": None}
_SUBJECT: Final = {"same": "sub", "any": ""}
_SCOPE: Final = {"requested": True, "any": False}
_ACTOR: Final = words_of(ActorRule)
_OPAQUE: Final = {"reject": False, "pass": True}
_LISTED: Final = {"minItems": 1, "maxItems": MAX_ITEMS}


@final
@attrs.frozen
class SubjectClaim:
    """The claim that tells whom a token is about."""

    claim: str = described("The name of a claim, a text that must be the same in both tokens.", {"pattern": NOT_BLANK})


@final
@attrs.frozen
class IssuedToken:
    """What exchanged tokens must be."""

    issuer: str = described("The issuer of exchanged tokens, exactly as in iss. Default: discovery.", default="")
    audience: str | tuple[str, ...] = described(
        "What aud may name: requested (the default), which is what the policy asks for, or the audiences in this list.",
        {**one_of(_AUDIENCE), **_LISTED},
        default="",
    )
    subject: str | SubjectClaim = described(
        "Whom tokens must be about: any (the default), same (sub is that of the caller's token), or the claim to compare.",
        one_of(_SUBJECT),
        default="",
    )
    actor: str = described(
        "Which actor (act) tokens may name: same (whose token was sent), none or any. Default: any with actorToken, otherwise same.",
        one_of(_ACTOR),
        default="",
    )
    scope: str = described(
        "Which scopes tokens may have: any (the default), or requested, which is no more than the policy asks for.",
        one_of(_SCOPE),
        default="",
    )
    scope_also: tuple[str, ...] = described("Scopes that tokens may have besides those requested.", _LISTED, default=())
    max_lifetime: float | None = attrs.field(
        default=None,
        metadata=about("How long a token may be valid (exp), such as 15m. Default: no limit.", least=MIN_LIFETIME, most=MAX_LIFETIME),
    )
    signature: bool = described("Whether tokens are verified by the issuer's keys. Default: false.", default=False)
    jwks_uri: str = described("The URL of these keys (JWKS). Default: where the issuer's metadata say.", default="")
    opaque: str = described("What happens to a token that is not a JWT: reject (the default) or pass.", one_of(_OPAQUE), default="")

    def issued(self, discovery: str, grant: GrantType, rules: ProfileRules, problems: list[str]) -> IssuedTokenRules:
        """Return the rules for exchanged tokens. Problems are added to ``problems``."""
        issuer = self.issuer or discovery
        if not issuer:
            problems.append("issuedToken needs issuer, since the profile has no discovery")
        scope = chosen("issuedToken.scope", self.scope, _SCOPE, False, problems)
        problems += self._audience_problems(grant)
        problems += self._scope_problems(requested=scope)
        problems += self._key_problems(issuer, discovery, rules)
        return IssuedTokenRules(
            issuer=issuer,
            audiences=self.audience if isinstance(self.audience, tuple) else (),
            subject=self._claim(problems),
            scope=scope,
            scope_also=self.scope_also,
            max_lifetime=self.max_lifetime,
            signature=self.signature,
            jwks_uri=self.jwks_uri,
            keys_of=discovery or issuer,
            opaque=chosen("issuedToken.opaque", self.opaque, _OPAQUE, False, problems),
            actor=chosen("issuedToken.actor", self.actor, _ACTOR, None, problems),
        )

    def _claim(self, problems: list[str]) -> str:
        if isinstance(self.subject, str):
            return chosen("issuedToken.subject", self.subject, _SUBJECT, "", problems)
        if not 0 < len(self.subject.claim) <= MAX_CLAIM:
            problems.append(f"issuedToken.subject.claim must have 1 to {MAX_CLAIM} characters")
        return self.subject.claim

    def _audience_problems(self, grant: GrantType) -> Iterator[str]:
        if isinstance(self.audience, tuple):
            yield from _list_problems("audience", self.audience)
        elif self.audience and self.audience not in _AUDIENCE:
            yield "issuedToken.audience must be requested or a list of audiences"
        elif grant is GrantType.ENTRA_OBO:
            yield f"issuedToken.audience must be a list with the grantType {grant.value}: policies ask it for a scope alone"

    def _scope_problems(self, *, requested: bool) -> Iterator[str]:
        yield from _list_problems("scopeAlso", self.scope_also)
        if any(" " in item for item in self.scope_also):
            yield "issuedToken.scopeAlso must have one scope in each text"
        if self.scope_also and not requested:
            yield "issuedToken.scopeAlso needs scope: requested"

    def _key_problems(self, issuer: str, discovery: str, rules: ProfileRules) -> Iterator[str]:
        if self.jwks_uri and not self.signature:
            yield "issuedToken.jwksURI needs signature: true"
        elif self.jwks_uri and isinstance(found := rules.host_of(self.jwks_uri), EndpointProblem):
            yield f"issuedToken.jwksURI {found.reason}"
        elif self.signature and issuer and not self.jwks_uri and not discovery:
            lead = rules.host_of(issuer)
            # As for ``discovery``: the path of the metadata cannot be added below a query.
            reason = lead.reason if isinstance(lead, EndpointProblem) else "must not have a query" if "?" in issuer else ""
            if reason:
                yield f"issuedToken.issuer must lead to keys, and it {reason}; correct it, or give issuedToken.jwksURI"


def _list_problems(name: str, texts: tuple[str, ...]) -> Iterator[str]:
    if len(texts) > MAX_ITEMS or len(set(texts)) < len(texts) or not all(texts):
        yield f"issuedToken.{name} must be at most {MAX_ITEMS} different texts, none of them empty"
