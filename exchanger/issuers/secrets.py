"""Kubernetes Secrets as issuer profiles need them: their names, what was read of them, and the Protocols by which it is read and followed.

Must not know: how an API server is asked, or what the values are for.
Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/.
"""

import base64
import binascii
import enum
from collections.abc import Callable, Mapping
from typing import NoReturn, Protocol, final

import attrs
from rpds import HashTrieMap

from exchanger.values.secret import Secret


@final
@attrs.frozen(order=True)
class SecretName:
    """Which Secret."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@final
@attrs.frozen
class SecretData:
    """A Secret in one version: its values by key. ``undecodable`` are the keys whose values are no text; ``version`` is opaque."""

    version: str
    values: "HashTrieMap[str, Secret]"
    undecodable: frozenset[str] = frozenset()

    def has(self, key: str) -> bool:
        """Tell whether there is a value that can be used."""
        value = self.values.get(key)
        return value is not None and bool(value.reveal())


@enum.unique
class SecretFault(enum.Enum):
    """Why a Secret cannot be read."""

    MISSING = "missing"
    FORBIDDEN = "forbidden"
    MALFORMED = "malformed"
    UNREACHABLE = "unreachable"


@final
@attrs.frozen
class SecretProblem:
    """A Secret cannot be read. ``text`` says what would help, such as ``needs get on secrets/issuer-oauth in team``, and never a value.

    Equal problems are told once, so the text must not differ from one attempt to the next.
    """

    fault: SecretFault
    text: str


def secret_data(version: str, data: Mapping[str, str]) -> SecretData:
    """Return the ``data`` of a Secret, base64 by key, in ``version``.

    Line ends at the end of a value are dropped: they come from files that were made into Secrets, and neither a client id nor a client
    secret can contain one (RFC 6749 appendix A.1 and A.2, https://www.rfc-editor.org/rfc/rfc6749#appendix-A.1).
    """
    values: dict[str, Secret] = {}
    for key, encoded in data.items():
        try:
            values[key] = Secret(base64.b64decode(encoded, validate=True).decode().rstrip("\r\n"))
        except (binascii.Error, ValueError):  # ValueError: no UTF-8, or characters that base64 does not have
            continue
    return SecretData(version, HashTrieMap(values), frozenset(data.keys() - values.keys()))


class SecretReader(Protocol):
    """Reads Secrets by name; the right that it needs is ``get``, by ``resourceNames``."""

    async def read(self, secret: SecretName, /) -> SecretData | SecretProblem:
        """Return the present version; what can fail is a value, an exception other than ``Cancelled`` is a fault."""


class SecretFollower(Protocol):
    """Follows Secrets by name, by whatever means."""

    async def follow(self, secret: SecretName, learn: Callable[[SecretData | SecretProblem], None], /) -> NoReturn:
        """Call ``learn`` with what there is to know at first, and then with each change, until cancelled.

        Whatever fails is told to ``learn`` and tried again with growing pauses. ``learn`` neither blocks nor raises.
        """
