"""The fields of a profile for the client's credentials: as written, with their rules and schema. Pure.

Must not know: files, clocks, or the content of Secrets.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final, final

import attrs

from exchanger.exchange.issuers.material import certificate_chain, certificate_key, subject_of
from exchanger.exchange.issuers.rules import ProfileRules, described, one_of, path_problems, words_of
from exchanger.exchange.issuers.secrets import SecretName
from exchanger.exchange.issuers.value_sources import Reference, Shape, in_files
from exchanger.formats.yaml.text_rules import whole
from exchanger.model.issuer import Assertion, AssertionType, ClientCertificate, SigningAlgorithm, SigningKey
from exchanger.model.secret import Secret, secret_problem
from exchanger.util.json_schema import Schema

ALGORITHMS: Final = words_of(SigningAlgorithm)
ASSERTION_TYPES: Final = {"jwt-bearer": AssertionType.JWT_BEARER, "jwt-spiffe": AssertionType.JWT_SPIFFE}
_SHAPES: Final = {
    SigningAlgorithm.RS256: Shape.RSA_KEY,
    SigningAlgorithm.PS256: Shape.RSA_KEY,
    SigningAlgorithm.ES256: Shape.P256_KEY,
    SigningAlgorithm.EDDSA: Shape.ED25519_KEY,
}

# Names become part of a request path, so they follow the API server's own rules:
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and, for keys, the reference of a Secret's data.
_LABEL: Final = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_NAME: Final = rf"{_LABEL}(?:\.{_LABEL})*"
_KEY: Final = "[A-Za-z0-9._-]+"
_is_subdomain: Final = re.compile(rf"(?=.{{1,253}}\Z){_NAME}").fullmatch
_is_label: Final = re.compile(rf"(?=.{{1,63}}\Z){_LABEL}").fullmatch
_is_key: Final = re.compile(rf"(?=.{{1,253}}\Z){_KEY}").fullmatch


def _pattern(pattern: str) -> Schema:
    return {"pattern": whole(pattern)}


@final
@attrs.frozen
class SecretKeyRef:
    """One key of a Kubernetes Secret; ``namespace`` "" is the service's own."""

    name: str = described("The name of the Secret.", _pattern(_NAME))
    key: str = described("The key in the Secret's data.", _pattern(_KEY))
    namespace: str = described("The Secret's namespace. Default: the service's own.", _pattern(f"(?:{_LABEL})?"), default="", nullable=True)

    def problems(self, rules: ProfileRules, elsewhere: str) -> Iterator[str]:
        """Yield the problems, in words that follow the name of the field; ``elsewhere`` is the field without a cluster."""
        namespace = self.namespace or rules.namespace
        if not rules.with_secrets:
            yield f"can only be resolved with POLICY_SOURCE=kubernetes; use {elsewhere} instead"
        elif not namespace:
            yield "needs a namespace, since POD_NAMESPACE is not set"
        elif not _is_label(namespace):
            yield "has a namespace that no Namespace can have"
        if not _is_subdomain(self.name):
            yield "has a name that no Secret can have"
        if not _is_key(self.key):
            yield "has a key that no Secret can have"


# The fields to use where no API server resolves references to Secrets.
_ELSEWHERE: Final = {"clientID": "clientID", "clientSecret": "clientSecretFile", "clientAssertion.key": "clientAssertion.keyFile"}


def in_secret(
    field: str,
    value: Secret,
    written: SecretKeyRef | None,
    rules: ProfileRules,
    problems: list[str],
    shape: Shape = Shape.TEXT,
    made: Callable[[str], object] = Secret,
) -> Reference | None:
    """Return the reference to the Secret with the value of ``field``, ``None`` if the file has it. Problems go to ``problems``."""
    if written is None:
        if not value.reveal():
            problems.append(f"needs {field} or {field}SecretRef")
        elif problem := secret_problem(value.reveal()):
            problems.append(f"{field} {problem}")
        return None
    if value.reveal():
        problems.append(f"{field} and {field}SecretRef are both given")
    problems += (f"{field}SecretRef {problem}" for problem in written.problems(rules, _ELSEWHERE[field]))
    return Reference(SecretName(written.namespace or rules.namespace, written.name), written.key, f"{field}SecretRef", shape, made)


@final
@attrs.frozen
class ClientAssertion:
    """The client signs an assertion for each request (private_key_jwt)."""

    algorithm: str = described("How assertions are signed.", one_of(ALGORITHMS))
    key_secret_ref: SecretKeyRef | None = described("The Secret with the private key, in PEM. Give this or keyFile.", default=None)
    key_file: str = described("The absolute path of the private key, in PEM. The service reads it again when it changes.", default="")
    key_id: str = described("The kid of assertions, by which the issuer finds the public key.", default="")
    audience: str = described("The aud of assertions. Default: discovery, or else the token endpoint.", default="")

    def proof(self, discovery: str, rules: ProfileRules, problems: list[str]) -> SigningKey[Reference] | None:
        """Return what signs. Problems are added to ``problems``."""
        algorithm = ALGORITHMS.get(self.algorithm)
        if algorithm is None:
            problems.append(f"clientAssertion.algorithm must be one of {', '.join(ALGORITHMS)}")
            return None
        shape = _SHAPES[algorithm]
        key: Reference | None = None
        if self.key_file and self.key_secret_ref is None:
            problems += path_problems("clientAssertion.keyFile", self.key_file)
            key = in_files("clientAssertion.keyFile", shape, self.key_file)
        elif self.key_file:
            problems.append("clientAssertion has keyFile and keySecretRef; give one of them")
        elif self.key_secret_ref is None:
            problems.append("clientAssertion needs keyFile or keySecretRef")
        else:
            key = in_secret("clientAssertion.key", Secret(""), self.key_secret_ref, rules, problems, shape)
        return None if key is None else SigningKey(key, algorithm, self.key_id, self.audience or discovery)


@final
@attrs.frozen
class ClientAssertionFile:
    """Another program makes the client's assertions, and puts them into a file."""

    path: str = described("The absolute path of the assertion. The service reads it again when it changes.")
    type: str = described("What the assertion is: jwt-bearer (the default) or jwt-spiffe.", one_of(ASSERTION_TYPES), default="")

    def proof(self, problems: list[str]) -> Assertion[Reference] | None:
        """Return the assertion. Problems are added to ``problems``."""
        kind = ASSERTION_TYPES.get(self.type or "jwt-bearer")
        if kind is None:
            problems.append(f"clientAssertionFile.type must be one of {', '.join(ASSERTION_TYPES)}")
            return None
        problems += path_problems("clientAssertionFile.path", self.path)
        file = in_files("clientAssertionFile.path", Shape.TOKEN, self.path)
        return Assertion(file, kind, attrs.evolve(file, made=subject_of))


@final
@attrs.frozen
class CertificateFiles:
    """The client authenticates with a certificate in TLS."""

    cert_file: str = described("The absolute path of the certificate chain, in PEM.")
    key_file: str = described("The absolute path of its private key, in PEM.")

    def proof(self, problems: list[str]) -> ClientCertificate[Reference]:
        """Return the certificate. Problems are added to ``problems``."""
        problems += path_problems("clientCertificate.certFile", self.cert_file)
        problems += path_problems("clientCertificate.keyFile", self.key_file)
        files = in_files("clientCertificate", Shape.CERTIFICATE, self.cert_file, self.key_file, made=certificate_chain)
        return ClientCertificate(files, attrs.evolve(files, made=certificate_key))
