"""Issuer profiles' Secrets from the API server, as objects: joins the rooms ``issuers`` and ``kube``.

Must not know: what the values are for, or when a Secret is asked for.
"""

from collections.abc import Mapping
from typing import Final, final

import attrs

from exchanger.issuers.secrets import SecretData, SecretFault, SecretName, SecretProblem, secret_data
from exchanger.kube.connection import ApiConnection
from exchanger.kube.events import Kind
from exchanger.kube.list_watch import ApiFailure, FailureKind, ListWatch
from exchanger.kube.resource import Resource, path_of

SecretState = SecretData | SecretProblem

_MALFORMED: Final = SecretProblem(SecretFault.MALFORMED, "is not what a Secret should be")
_FAULTS: Final = {FailureKind.NOT_FOUND: SecretFault.MISSING, FailureKind.FORBIDDEN: SecretFault.FORBIDDEN}


@final
@attrs.frozen
class ApiSecrets:
    """The Secrets of one API server; implements ``issuers.secrets.SecretReader``."""

    _connection: ApiConnection

    async def read(self, secret: SecretName, /) -> SecretState:
        """Get one Secret by its name."""
        found = await self._connection.get(path_of("api", "v1", "namespaces", secret.namespace, "secrets", secret.name))
        if isinstance(found, ApiFailure):
            return secret_problem(secret, found)
        item = SECRET.read(found, secret.namespace) if SECRET.is_object(found) else None
        if item is None or item.key.name != secret.name:
            return _MALFORMED
        return item.value

    def list_watch(self, secret: SecretName, /) -> ListWatch[SecretState]:
        """Return a resource that has this Secret alone.

        A Role that gives list and watch by ``resourceNames`` allows what names one object in exactly this form:
        https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources.
        """
        path = path_of("api", "v1", "namespaces", secret.namespace, "secrets")
        return Resource(self._connection, path, SECRET, field_selector=f"metadata.name={secret.name}")


def decode_secret(found: Mapping[str, object]) -> SecretState:
    """Return the Secret that ``found`` is. Total."""
    metadata, data = found.get("metadata"), found.get("data") or {}
    version = metadata.get("resourceVersion") if isinstance(metadata, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(version, str):
        return _MALFORMED
    return secret_data(version, {key: value for key, value in data.items() if isinstance(key, str) and isinstance(value, str)})


SECRET: Final[Kind[SecretState]] = Kind("Secret", decode_secret)


def missing_secret(secret: SecretName) -> SecretProblem:
    """Say that there is none."""
    return SecretProblem(SecretFault.MISSING, f"there is no Secret {secret}")


def secret_problem(secret: SecretName, failure: ApiFailure) -> SecretProblem:
    """Say what a failed request means for whoever needs ``secret``."""
    fault = _FAULTS.get(failure.kind, SecretFault.UNREACHABLE)
    match fault:
        case SecretFault.MISSING:
            return missing_secret(secret)
        case SecretFault.FORBIDDEN:
            text = f"needs list and watch on secrets/{secret.name} in the namespace {secret.namespace}"
        case _:
            text = f"the API server did not give it: {failure.kind.value}"
    return SecretProblem(fault, text)
