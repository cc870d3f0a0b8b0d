"""Kubernetes Secrets as issuer profiles need them: their names, their content, and following one by reading it repeatedly.

Reading is all that a right to ``get`` by name allows, and as much as client secrets need.

Must not know: how an API server is called, or what the values are for.
Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/.
"""

import base64
import binascii
import enum
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Final, NoReturn, Protocol, final

import attrs
import trio
from rpds import HashTrieMap

from exchanger.model.secret import Secret
from exchanger.net.network import SYSTEM

# Seconds between reads of a Secret. Its previous content is usable for ``ROTATION_GRACE_S`` after a change, so a few seconds do not matter;
# and a read per Secret every ten seconds is less than a single idle kubelet's load on the same server.
POLL_S: Final = 10.0

# How much longer an interval may become at random, so that instances that started together do not read together.
JITTER: Final = 0.2

# Seconds for one read. An API server answers a get within milliseconds, so one that takes this long will not answer.
READ_S: Final = 10.0

# Seconds to wait after the first failure, before the random part is added; this and the next two are client-go's numbers, as for policy.
FIRST_RETRY_S: Final = 0.8

# By how much each further wait is longer.
RETRY_FACTOR: Final = 2.0

# The longest wait in seconds, before the random part is added.
RETRY_CAP_S: Final = 30.0


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
    """One version of a Secret: its values by key. ``undecodable`` are the keys whose values are not text; ``version`` is opaque.

    ``checked`` caches the results of checking its values, which are needed with each change of any other Secret or file.
    """

    version: str
    values: "HashTrieMap[str, Secret]"
    undecodable: frozenset[str] = frozenset()
    checked: dict[object, str | None] = attrs.field(factory=dict, init=False, eq=False, repr=False)


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

    Equal problems are reported once, so the text must not differ from one attempt to the next.
    """

    fault: SecretFault
    text: str


def secret_data(version: str, data: Mapping[str, str]) -> SecretData:
    """Return the ``data`` of a Secret, base64 by key, in ``version``.

    Trailing line ends of a value are dropped: they come from files that were made into Secrets, and neither a client id nor a client
    secret can contain one (RFC 6749 appendix A.1 and A.2, https://www.rfc-editor.org/rfc/rfc6749#appendix-A.1).
    """
    values: dict[str, Secret] = {}
    for key, encoded in data.items():
        try:
            values[key] = Secret(base64.b64decode(encoded, validate=True).decode().rstrip("\r\n"))
        except (binascii.Error, ValueError):  # ValueError: no UTF-8, or characters that base64 does not have
            continue
    return SecretData(version, HashTrieMap(values), frozenset(data.keys() - values.keys()))


class SecretFollower(Protocol):
    """Follows Secrets by name, by any means."""

    async def follow(self, secret: SecretName, learn: Callable[[SecretData | SecretProblem], None], /) -> NoReturn:
        """Call ``learn`` with the first state and then with each change, until cancelled.

        ``learn`` also gets failures, which are retried with growing pauses. It neither blocks nor raises.
        """


_NO_ANSWER: Final = SecretProblem(SecretFault.UNREACHABLE, f"was not read within {READ_S:.0f} seconds")


@final
@attrs.define(eq=False)
class PollingSecrets:
    """Implements ``SecretFollower`` by reading repeatedly. ``read`` returns the current version; an exception of it is a fault."""

    read: Callable[[SecretName], Awaitable[SecretData | SecretProblem]]
    _random: Random = SYSTEM.random
    _woken: trio.Event = attrs.field(factory=trio.Event, init=False)

    def retry_now(self) -> None:
        """End the waits after failures."""
        self._woken.set()
        self._woken = trio.Event()

    async def follow(self, secret: SecretName, learn: Callable[[SecretData | SecretProblem], None], /) -> NoReturn:
        last: SecretData | SecretProblem | None = None
        retry = FIRST_RETRY_S
        while True:
            found = await self._read_in_time(secret)
            if found != last:
                learn(found)
                last = found
            if isinstance(found, SecretData):
                retry = FIRST_RETRY_S
                await trio.sleep(POLL_S * (1.0 + JITTER * self._random.random()))
            else:
                # The random part is at most as long as the wait itself: chance cannot make the waits short.
                await self._wait(retry * (1.0 + self._random.random()))
                retry = min(retry * RETRY_FACTOR, RETRY_CAP_S)

    async def _wait(self, seconds: float) -> None:
        began, woken = trio.current_time(), self._woken
        with trio.move_on_after(seconds):
            await woken.wait()
            await trio.sleep_until(began + FIRST_RETRY_S)

    async def _read_in_time(self, secret: SecretName) -> SecretData | SecretProblem:
        with trio.move_on_after(READ_S):
            return await self.read(secret)
        return _NO_ANSWER
