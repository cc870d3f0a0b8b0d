"""What the fake token endpoint answers, as data: behaviours, and the rules that choose one by path and target.

The rules read like an issuer's own reasons: it does not know a resource, guards an audience, or is broken on a path. Policies and issuer
profiles of the demo name the same paths, scopes, resources and audiences.
"""

from typing import final

import attrs

from exchanger.commands.scenarios.answer import RequestedTarget

ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # RFC 8693 section 3
REFRESH_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:refresh_token"  # same

ID_JAG_TYPE = "urn:ietf:params:oauth:token-type:id-jag"  # draft-ietf-oauth-identity-assertion-authz-grant section 3

SLOW_ANSWER = 3.0  # seconds: far beyond the 750 ms that the service waits, and the 1 s that the gateway waits for the service
SHARED_ANSWER = 0.3  # seconds: long enough for ten requests to meet, and well below the 500 ms within which headers must arrive


@final
@attrs.frozen
class Issue:
    """Success (RFC 8693 section 2.2.1), or what a careless issuer takes for it; ``delay`` is in seconds."""

    token_type: str = "Bearer"
    issued_token_type: str = ACCESS_TOKEN_TYPE
    with_access_token: bool = True
    delay: float = 0.0


@final
@attrs.frozen
class Refuse:
    """An OAuth error (RFC 6749 section 5.2); ``challenge`` goes into ``WWW-Authenticate``, "" for none."""

    error: str
    description: str
    status: int = 400
    challenge: str = ""


@final
@attrs.frozen
class Fail:
    """An answer that is not an OAuth message: ``body`` unchanged, sent as JSON whether it is valid or not."""

    status: int
    body: str


Behaviour = Issue | Refuse | Fail


@final
@attrs.frozen
class Rule:
    """``behaviour`` where every part that is given matches: the path, one of the scope's words, one resource, one audience."""

    behaviour: Behaviour
    path: str | None = None
    scope: str | None = None
    resource: str | None = None
    audience: str | None = None

    def matches(self, path: str, target: RequestedTarget) -> bool:
        """Whether the rule is about a token request to ``path`` for ``target``."""
        return (
            (self.path is None or self.path == path)
            and (self.scope is None or self.scope in target.scope.split())
            and (self.resource is None or self.resource in target.resources)
            and (self.audience is None or self.audience in target.audiences)
        )


TOKEN_PATH = "/token"
INTROSPECTION_PATH = "/introspect"
SLOW_PATH = "/slow/token"
MALFORMED_PATH = "/malformed/token"
TOKEN_PATHS = (TOKEN_PATH, SLOW_PATH, MALFORMED_PATH)

NOT_A_BEARER = "N_A"  # RFC 8693 section 2.2.1: the token_type of a token that is not an access token

RULES = (
    Rule(Issue(delay=SLOW_ANSWER), path=SLOW_PATH),
    Rule(Fail(200, '{"access_token": "cut off he'), path=MALFORMED_PATH),
    Rule(Issue(delay=SHARED_ANSWER), scope="read:digest"),
    Rule(Refuse("invalid_grant", "the grant behind this token was revoked"), scope="read:archive"),
    Rule(Refuse("invalid_target", "this issuer knows no such resource"), resource="https://nowhere.example.com/"),
    Rule(Fail(403, '{"error": "access_denied", "reason": "client is not in the audience"}'), audience="payroll-api"),
    Rule(Fail(503, '{"status": "maintenance"}'), audience="closed-api"),
    Rule(Issue(with_access_token=False), audience="forgetful-api"),
    Rule(Issue(token_type=NOT_A_BEARER), audience="not-bearer-api"),
    Rule(Issue(issued_token_type=REFRESH_TOKEN_TYPE), audience="refresh-api"),
    # Of assertions for the second issuer.
    Rule(Refuse("access_denied", "the user is not assigned to the chat application"), scope="chat:board"),
    Rule(
        Refuse(
            "insufficient_user_authentication",
            "the user has not logged in with a second factor",
            challenge='Bearer error="insufficient_user_authentication", acr_values="urn:example:second-factor", max_age="300"',
        ),
        scope="chat:admin",
    ),
)
# What the second issuer refuses: the scope of assertions for a user of whom it knows nothing.
UNKNOWN_USER_SCOPE = "chat:archive"


def behaviour_for(path: str, target: RequestedTarget) -> Behaviour:
    """Return the first matching rule's behaviour; success if none matches."""
    return next((rule.behaviour for rule in RULES if rule.matches(path, target)), Issue())
