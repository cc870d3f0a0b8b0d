"""No secret of a profile or of a caller shows in anything that is not a request, whatever fails.

The endpoint is hostile: its answers quote all that it was sent.
"""

import json
import logging
import math
from collections.abc import Callable, Mapping
from typing import Final

import attrs
import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.model.issuer import (
    ActorCredentials,
    ActorToken,
    Assertion,
    AssertionType,
    ClientCertificate,
    ClientProof,
    Credentials,
    ErrorStyle,
    Grant,
    GrantType,
    Issuer,
    SigningAlgorithm,
    SigningKey,
)
from exchanger.model.secret import Secret
from exchanger.model.token import TokenOutcome
from tests.exchange.examples import RULES, answer_to, asking, guarded, published
from tests.exchange.oauth.fakes import CONTRACT, ClientGoneError, exchange, response
from tests.exchange.oauth.published import ISSUER, OPENID, Site, document, metadata
from tests.formats.jwt.issuer import P256, jwk, pem, token
from tests.net.certificates import client_certificate

CERTIFICATE: Final = client_certificate(trustme.CA())
PEM: Final = pem(P256)
SUBJECT: Final = token(jti="canary")

PROOFS: Final[Mapping[str, ClientProof]] = {
    "secret": Secret("canary-secret"),
    "key": SigningKey(Secret(PEM), SigningAlgorithm.ES256),
    "wrong key": SigningKey(Secret(PEM), SigningAlgorithm.RS256),
    "damaged key": SigningKey(Secret(PEM.replace("MIG", "canary")), SigningAlgorithm.ES256),
    "assertion": Assertion(Secret("canary-assertion"), AssertionType.JWT_BEARER, "me"),
    "certificate": CERTIFICATE,
    "damaged certificate": ClientCertificate("canary", Secret("canary")),
}
GRANTS: Final = {
    "parameters": Grant(parameters=(("tenant", "canary-parameter"),)),
    "actor": Grant(actor=ActorToken(Secret("canary-actor"), "urn:x:y", "me")),
    "own actor": Grant(actor=ActorCredentials("act")),
    "other grant": Grant(GrantType.JWT_BEARER, parameters=(("\ud800", "canary-parameter"),)),
}


def lines(text: str) -> list[str]:
    """Pieces by which a text in PEM would be recognised."""
    return [line[at : at + 16] for line in text.splitlines() if "-----" not in line for at in range(0, max(len(line) - 16, 1), 16)]


SECRETS: Final = ("canary", *lines(PEM), *lines(CERTIFICATE.key.reveal()), SUBJECT, *SUBJECT.split("."))


def quoting(status: int, *, actor_too: bool) -> Callable[[Mapping[str, str]], bytes]:
    """Answer with all that was sent, wherever an answer has room for it."""

    def answer(fields: Mapping[str, str]) -> bytes:
        said = json.dumps(fields)
        if fields["grant_type"] == "client_credentials" and not actor_too:
            return response(json.dumps({"access_token": "canary-access", "token_type": "Bearer"}).encode())
        members = {"error": "invalid_client", "error_description": said, "error_uri": said, "token_type": said, "access_token": [said]}
        return response(json.dumps(members).encode(), status, f"Retry-After: {said}")

    return answer


def close(_fields: Mapping[str, str]) -> bytes:
    """Take a request and close."""
    raise ClientGoneError


def shown(outcome: TokenOutcome, issuer: Issuer) -> str:
    """All that may be seen of an outcome."""
    told = [answer_to(asking("subject", attrs.evolve(issuer, errors=style)), outcome, "realm") for style in ErrorStyle]
    return repr((outcome, getattr(outcome, "body", ""), getattr(outcome, "www_authenticate", ""), told)) + str(outcome)


FAILURES: Final = ("400", "401", "500", "200", "actor", "closes", "silent", "metadata", "keys")
CLIENTS: Final = (*((proof, "own actor") for proof in PROOFS), *(("secret", grant) for grant in GRANTS))
# Each failure and each client once in the quick tier; .ci/run tries all pairs.
PAIRS: Final = [
    pytest.param(proof, grant, failure, marks=() if number % len(FAILURES) == at else pytest.mark.full)
    for number, (proof, grant) in enumerate(CLIENTS)
    for at, failure in enumerate(FAILURES)
]


@pytest.mark.parametrize(("proof", "grant", "failure"), PAIRS)
async def test_a_failed_exchange_shows_no_secret_anywhere(
    proof: str, grant: str, failure: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    previous = Credentials("before", Secret("canary-previous"))
    issuer = attrs.evolve(
        asking("").issuer,
        token_endpoint="",
        discovery=ISSUER,
        credentials=Credentials("client", PROOFS[proof], 1),
        previous=previous,
        grant=GRANTS[grant],
        subject=RULES,
    )
    status = int(failure) if failure.isdecimal() else 400
    site = Site({OPENID: metadata(note="canary"), "/keys": published("p256")}, quoting(status, actor_too=failure == "actor"))
    if failure == "metadata":
        site.documents[OPENID] = metadata(token_endpoint="https://canary:canary@issuer.example.com/canary")
    if failure == "keys":
        site.documents["/keys"] = document({"keys": [{**jwk(P256), "kid": ["canary"]}], "canary": "canary"})
    if failure == "silent":
        site.token = lambda _: b""
    if failure == "closes":
        site.token = close
    seen: list[str] = []
    async with guarded(site, issuer, settings=CONTRACT) as it:
        client = it.it.client
        it.verifier.behind = client
        client.use_issuers({"primary": issuer})
        await wait_all_tasks_blocked()
        begun = it.verifier.begin(asking(SUBJECT, issuer), math.inf, lambda outcome: seen.append(shown(outcome, issuer)))
        await trio.lowlevel.checkpoint()
        machines = (client, begun, it.verifier)  # the first shows all its parts
        verifier = it.verifier
        seen += [repr(machines), repr((client.preparation.endpoints, verifier.keys.caches, verifier.cached, client.actor_tokens.cached))]
        for subject in (SUBJECT, token(jti="canary", aud="canary"), token(jti="canary", iss="http://canary")):
            seen.append(shown(await exchange(it.verifier, asking(subject, issuer)), issuer))
        await trio.sleep(1)
        seen.append(repr((machines, it.it.observer.records, it.learned.entries, issuer, list(client.limits))))
        keys = client.preparation._assertions._loaded  # noqa: SLF001 - loaded keys, which no repr shows
        seen.append(repr((client.preparation.endpoints, keys, client.actor_tokens.cached)))
    seen.append(caplog.text)
    everything = "\n".join(seen)
    assert [secret for secret in SECRETS if secret in everything] == []
