"""What profiles are checked against, and the checks that several of their fields share. Pure.

Must not know: files, clocks, or what is in Secrets.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final, final

import attrs

from exchanger.issuers.profile_model import SecretKeyRef
from exchanger.issuers.secrets import SecretName
from exchanger.issuers.value_sources import Reference, Shape
from exchanger.values.issuer import AuthMethod
from exchanger.values.secret import Secret

# Names become part of a request path, so they follow the API server's own rules:
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and, for keys, the reference of a Secret's data.
_SUBDOMAIN: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_KEY: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")


@final
@attrs.frozen
class EndpointProblem:
    """Why the address of a token endpoint is not usable, in words that follow its name; the address is not repeated."""

    reason: str


# Takes the address of a token endpoint and returns its host, as metrics name it, or why it cannot be used.
EndpointCheck = Callable[[str], str | EndpointProblem]


@final
@attrs.frozen
class ProfileRules:
    """Defaults for profiles: the authentication method, and the namespace of references ("": none).

    ``with_secrets``: there is an API server to resolve references.
    """

    auth_method: AuthMethod = AuthMethod.CLIENT_SECRET_BASIC
    namespace: str = ""
    with_secrets: bool = False


def located(
    field: str, value: Secret, written: SecretKeyRef | None, rules: ProfileRules, problems: list[str], shape: Shape = Shape.TEXT
) -> Reference | None:
    """Return where the value of ``field`` is in a Secret, ``None`` if the file has it. Problems are added to ``problems``."""
    if written is None:
        if not value.reveal():
            problems.append(f"needs {field} or {field}SecretRef")
        return None
    secret = SecretName(written.namespace or rules.namespace, written.name)
    reference = Reference(secret, written.key, f"{field}SecretRef", shape)
    problems.extend(f"{field}{problem}" for problem in _problems(reference, secret, given=bool(value.reveal()), rules=rules))
    return reference


def _problems(reference: Reference, secret: SecretName, *, given: bool, rules: ProfileRules) -> Iterator[str]:
    if given:
        yield f" and {reference.field} are both given"
    if not rules.with_secrets:
        yield "SecretRef can only be resolved with POLICY_SOURCE=kubernetes"
    elif not secret.namespace:
        yield "SecretRef needs a namespace, since POD_NAMESPACE is not set"
    elif not _LABEL.fullmatch(secret.namespace):
        yield "SecretRef has a namespace that no Namespace can have"
    if not _SUBDOMAIN.fullmatch(secret.name):
        yield "SecretRef has a name that no Secret can have"
    if not _KEY.fullmatch(reference.key):
        yield "SecretRef has a key that no Secret can have"
