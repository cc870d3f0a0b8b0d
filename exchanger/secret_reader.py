"""Issuer profiles' Secrets from the API server: joins the rooms ``issuers`` and ``kube``.

Must not know: what the values are for.
"""

from collections.abc import Mapping
from typing import Final, final

import attrs

from exchanger.issuers.secrets import SecretData, SecretFault, SecretName, SecretProblem, secret_data
from exchanger.kube.connection import ApiConnection
from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.kube.resource import path_of

_FAULTS: Final = {FailureKind.NOT_FOUND: SecretFault.MISSING, FailureKind.FORBIDDEN: SecretFault.FORBIDDEN}


@final
@attrs.frozen
class ApiSecretReader:
    """Implements ``issuers.secrets.SecretReader``."""

    _connection: ApiConnection

    async def read(self, secret: SecretName, /) -> SecretData | SecretProblem:
        """Get one Secret by its name."""
        found = await self._connection.get(path_of("api", "v1", "namespaces", secret.namespace, "secrets", secret.name))
        if isinstance(found, ApiFailure):
            return _problem(secret, found)
        metadata, data = found.get("metadata"), found.get("data") or {}
        version = metadata.get("resourceVersion") if isinstance(metadata, Mapping) else None
        if not isinstance(data, Mapping) or not isinstance(version, str):
            return SecretProblem(SecretFault.MALFORMED, "is not what a Secret should be")
        return secret_data(version, {key: value for key, value in data.items() if isinstance(key, str) and isinstance(value, str)})


def _problem(secret: SecretName, failure: ApiFailure) -> SecretProblem:
    fault = _FAULTS.get(failure.kind, SecretFault.UNREACHABLE)
    match fault:
        case SecretFault.MISSING:
            text = f"there is no Secret {secret}"
        case SecretFault.FORBIDDEN:
            text = f"needs get on secrets/{secret.name} in the namespace {secret.namespace}"
        case _:
            text = f"the API server did not give it: {failure.kind.value}"
    return SecretProblem(fault, text)
