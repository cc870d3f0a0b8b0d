"""From a plan and what is in Secrets and files to issuers, or to what is missing. Pure."""

import hashlib
import json
from typing import assert_never, final

import attrs
from rpds import HashTrieMap

from exchanger.issuers.client_plan import PlannedAssertion, PlannedCertificate, PlannedClient, PlannedKey
from exchanger.issuers.exchange_plan import PlannedActor, PlannedGrant
from exchanger.issuers.material import problem_with, split_certificate
from exchanger.issuers.plan import Plan, UnresolvedProfile
from exchanger.issuers.secrets import SecretData, SecretProblem
from exchanger.issuers.value_sources import Reference, ValueSource
from exchanger.jwt.unverified import claims_of
from exchanger.values.issuer import (
    ActorCredentials,
    ActorToken,
    Assertion,
    ClientCertificate,
    ClientProof,
    Credentials,
    Grant,
    Issuer,
    SigningKey,
)
from exchanger.values.secret import Secret

Found = SecretData | SecretProblem


@final
@attrs.frozen
class SecretIssue:
    """Why one field has no value. ``place`` names profile, field, and Secret and key or file; never a value."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@final
@attrs.frozen
class Resolved:
    """The issuers whose values are known, and why others are missing. ``complete``: none is missing."""

    issuers: "HashTrieMap[str, Issuer]"
    issues: tuple[SecretIssue, ...]
    complete: bool


def resolve(plan: Plan, found: "HashTrieMap[ValueSource, Found]") -> Resolved:
    """Return the issuers of ``plan`` with the values in ``found``.

    A place that is missing there was not read yet: its profile is left out, and that is not an issue.
    """
    issuers: dict[str, Issuer] = {}
    issues: list[SecretIssue] = []
    for profile in plan.profiles:
        values: dict[Reference, str] = {}
        for reference in profile.references:
            there = found.get(reference.place)
            if there is None:
                continue
            problem = problem_of(reference, there)
            if problem is not None:
                issues.append(SecretIssue(f'issuer profile "{profile.name}" {reference}', problem))
            elif isinstance(there, SecretData):
                values[reference] = there.values[reference.key].reveal()
        if all(reference in values for reference in profile.references):
            issuers[profile.name] = _issuer(profile, values)
    return Resolved(HashTrieMap(issuers), tuple(issues), complete=len(issuers) == len(plan.profiles))


def problem_of(reference: Reference, found: Found) -> str | None:
    """Return why ``found`` has no usable value for ``reference``; ``None`` if it has one."""
    match found:
        case SecretProblem():
            return found.text
        case SecretData():
            value = found.values.get(reference.key)
            if value is None:
                return "its value is not text in UTF-8" if reference.key in found.undecodable else "there is no such key"
            asked = reference.key, reference.shape
            if asked not in found.judged:
                found.judged[asked] = problem_with(reference.shape, value.reveal()) if value.reveal() else "its value is empty"
            return found.judged[asked]
        case _:
            assert_never(found)


def _issuer(profile: UnresolvedProfile, values: dict[Reference, str]) -> Issuer:
    client = profile.client
    client_id = client.client_id if isinstance(client.client_id, str) else values[client.client_id]
    return Issuer(
        name=profile.name,
        token_endpoint=profile.token_endpoint,
        endpoint_host=profile.endpoint_host,
        auth_method=client.auth_method,
        credentials=Credentials(client_id, _proof(client, values)),
        bearer_realm=profile.bearer_realm,
        proxy=profile.proxy,
        protocol=profile.protocol,
        cache=profile.cache,
        limits=profile.limits,
        discovery=profile.discovery,
        ca_pem=None if profile.authorities is None else values[profile.authorities],
        grant=_grant(profile.grant, values),
        subject=profile.subject,
        errors=profile.errors,
    )


def _proof(client: PlannedClient, values: dict[Reference, str]) -> ClientProof:
    match client.proof:
        case None | Secret():
            return client.proof
        case Reference():
            return Secret(values[client.proof])
        case PlannedKey(key, algorithm, key_id, audience):
            return SigningKey(Secret(values[key]), algorithm, key_id, audience)
        case PlannedAssertion(file, kind):
            return Assertion(Secret(values[file]), kind, subject_of(values[file]))
        case PlannedCertificate(files):
            chain, private_key = split_certificate(values[files])
            return ClientCertificate(chain, Secret(private_key))
        case _:
            assert_never(client.proof)


def _grant(planned: PlannedGrant, values: dict[Reference, str]) -> Grant:
    match planned.actor:
        case PlannedActor(file, kind):
            actor: ActorToken | ActorCredentials | None = ActorToken(Secret(values[file]), kind, subject_of(values[file]))
        case other:
            actor = other
    return Grant(planned.type, planned.requested_token_type, actor, planned.parameters)


def subject_of(token: str) -> str:
    """Return whom ``token`` is about: ``iss`` and ``sub`` of a JWT, not verified, or a digest of what is none.

    It tells whether a file holds a newer token of the same kind. Whoever writes the file decides that anyway.
    """
    claims = claims_of(token)
    if claims is None or not isinstance(claims.get("sub"), str) or not isinstance(claims.get("iss"), str | None):
        return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
    return json.dumps([claims.get("iss"), claims["sub"]])
