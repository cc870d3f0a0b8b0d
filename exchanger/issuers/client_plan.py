"""How a profile's client authenticates, checked against the rules: exactly one way, and all that this way needs. Pure.

Must not know: files, clocks, or what is in Secrets.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final, final

import attrs

from exchanger.issuers.profile_model import ClientAssertion, ClientAssertionFile, IssuerProfile
from exchanger.issuers.rules import ProfileRules, located
from exchanger.issuers.value_sources import Reference, Shape, in_files
from exchanger.values.issuer import AssertionType, AuthMethod, SigningAlgorithm
from exchanger.values.secret import Secret

NONE: Final = "none"
METHODS: Final = (*(method.value for method in AuthMethod), NONE)
ALGORITHMS: Final = tuple(algorithm.value for algorithm in SigningAlgorithm)
ASSERTION_TYPES: Final = {"jwt-bearer": AssertionType.JWT_BEARER, "jwt-spiffe": AssertionType.JWT_SPIFFE}
_SHAPES: Final = {
    SigningAlgorithm.RS256: Shape.RSA_KEY,
    SigningAlgorithm.PS256: Shape.RSA_KEY,
    SigningAlgorithm.ES256: Shape.P256_KEY,
    SigningAlgorithm.EDDSA: Shape.ED25519_KEY,
}


@final
@attrs.frozen
class PlannedKey:
    """The key of client assertions; see ``SigningKey``."""

    key: Reference
    algorithm: SigningAlgorithm
    key_id: str
    audience: str


@final
@attrs.frozen
class PlannedAssertion:
    """Assertions that a file holds."""

    file: Reference
    type: AssertionType


@final
@attrs.frozen
class PlannedCertificate:
    """A certificate and its key."""

    files: Reference


# ``None``: the client is public.
PlannedProof = Secret | Reference | PlannedKey | PlannedAssertion | PlannedCertificate | None


@final
@attrs.frozen
class PlannedClient:
    """Client id and proof, or where to find them."""

    auth_method: AuthMethod
    client_id: str | Reference
    proof: PlannedProof

    @property
    def references(self) -> tuple[Reference, ...]:
        """Where its parts are."""
        match self.proof:
            case PlannedKey(key=found) | PlannedAssertion(file=found) | PlannedCertificate(files=found):
                proof: Reference | None = found
            case Reference():
                proof = self.proof
            case _:
                proof = None
        return tuple(part for part in (self.client_id, proof) if isinstance(part, Reference))


def plan_client(profile: IssuerProfile, rules: ProfileRules, problems: list[str]) -> PlannedClient:
    """Return the client of ``profile``. Problems are added to ``problems``, and the result counts only if there are none."""
    written = profile.token_endpoint_auth_method
    method = written or rules.auth_method.value
    known = method in METHODS
    method = method if known else AuthMethod.CLIENT_SECRET_BASIC.value
    kinds = tuple(_kinds(profile, method))
    if len(kinds) > 1:
        problems.append(f"has {' and '.join(kinds)}; a client authenticates in one way")
    kind = kinds[0] if kinds else _SECRET
    if kind not in (_SECRET, _PUBLIC) and written:
        problems.append(f"tokenEndpointAuthMethod is for client secrets alone, and there is {kind}; leave it out")
    elif not known:
        problems.append(f"tokenEndpointAuthMethod must be one of {', '.join(METHODS)}")
    client_id = _client_id(profile, rules, problems, optional=kind == "clientAssertionFile")
    auth_method = AuthMethod.CLIENT_SECRET_BASIC if method == NONE else AuthMethod(method)
    return PlannedClient(auth_method, client_id, _proof(profile, kind, rules, problems))


_SECRET: Final = "clientSecret"
_PUBLIC: Final = f"tokenEndpointAuthMethod {NONE}"
_OTHERS: Final = f"clientAssertion, clientAssertionFile, clientCertificate or {_PUBLIC}"


def _kinds(profile: IssuerProfile, method: str) -> Iterator[str]:
    if profile.client_secret.reveal() or profile.client_secret_secret_ref is not None:
        yield _SECRET
    if profile.client_assertion is not None:
        yield "clientAssertion"
    if profile.client_assertion_file is not None:
        yield "clientAssertionFile"
    if profile.client_certificate is not None:
        yield "clientCertificate"
    if method == NONE:
        yield _PUBLIC


def _client_id(profile: IssuerProfile, rules: ProfileRules, problems: list[str], *, optional: bool) -> str | Reference:
    if optional and not profile.client_id and profile.client_id_secret_ref is None:
        return ""
    found = located("clientID", Secret(profile.client_id), profile.client_id_secret_ref, rules, problems)
    return profile.client_id if found is None else found


def _proof(profile: IssuerProfile, kind: str, rules: ProfileRules, problems: list[str]) -> PlannedProof:
    assertion, file, certificate = profile.client_assertion, profile.client_assertion_file, profile.client_certificate
    if kind == _PUBLIC:
        return None
    if kind == "clientAssertion" and assertion is not None:
        return _key(assertion, profile.discovery, rules, problems)
    if kind == "clientAssertionFile" and file is not None:
        return _assertion(file, problems)
    if kind == "clientCertificate" and certificate is not None:
        paths = certificate.cert_file, certificate.key_file
        for name, path in zip(("certFile", "keyFile"), paths, strict=True):
            problems += path_problems(f"clientCertificate.{name}", path)
        return PlannedCertificate(in_files("clientCertificate", Shape.CERTIFICATE, *paths))
    if not profile.client_secret.reveal() and profile.client_secret_secret_ref is None:
        problems.append(f"needs {_SECRET}, {_SECRET}SecretRef or another way to authenticate: {_OTHERS}")
        return None
    found = located(_SECRET, profile.client_secret, profile.client_secret_secret_ref, rules, problems)
    return profile.client_secret if found is None else found


def _key(written: ClientAssertion, discovery: str, rules: ProfileRules, problems: list[str]) -> PlannedKey | None:
    if written.algorithm not in ALGORITHMS:
        problems.append(f"clientAssertion.algorithm must be one of {', '.join(ALGORITHMS)}")
        return None
    algorithm = SigningAlgorithm(written.algorithm)
    shape = _SHAPES[algorithm]
    key: Reference | None = None
    if written.key_file and written.key_secret_ref is None:
        problems += path_problems("clientAssertion.keyFile", written.key_file)
        key = in_files("clientAssertion.keyFile", shape, written.key_file)
    elif written.key_file:
        problems.append("clientAssertion has keyFile and keySecretRef; give one of them")
    elif written.key_secret_ref is None:
        problems.append("clientAssertion needs keyFile or keySecretRef")
    else:
        key = located("clientAssertion.key", Secret(""), written.key_secret_ref, rules, problems, shape)
    return None if key is None else PlannedKey(key, algorithm, written.key_id, written.audience or discovery)


def _assertion(written: ClientAssertionFile, problems: list[str]) -> PlannedAssertion | None:
    kind = ASSERTION_TYPES.get(written.type or "jwt-bearer")
    if kind is None:
        problems.append(f"clientAssertionFile.type must be one of {', '.join(ASSERTION_TYPES)}")
        return None
    problems += path_problems("clientAssertionFile.path", written.path)
    return PlannedAssertion(in_files("clientAssertionFile.path", Shape.TOKEN, written.path), kind)


def path_problems(field: str, path: str) -> Iterator[str]:
    """Yield what is wrong with the path of a file."""
    if not path:
        yield f"{field} is required"
    elif not PurePosixPath(path).is_absolute() or "\0" in path:
        yield f"{field} must be an absolute path"
