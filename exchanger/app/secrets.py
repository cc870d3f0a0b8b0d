"""Issuer profiles' Secrets from the API server: each is followed by its own watch, so that a rotation takes effect within moments.

The watch is never given up. If the right to list or watch the Secret is missing but ``get`` is granted, as with roles for the Go service,
it is also polled (see ``issuers.polling``) until the server accepts the watch.
"""

import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from random import Random
from typing import Final, NoReturn, Protocol, final

import attrs
import trio

from exchanger.exchange.issuers.secrets import PollingSecrets, SecretData, SecretFault, SecretName, SecretProblem, secret_data
from exchanger.net.network import SYSTEM
from exchanger.sources.kube.api.connection import ApiConnection
from exchanger.sources.kube.api.decoding import Kind
from exchanger.sources.kube.api.resource import Resource, path_of
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind, Item, Key, ListWatch
from exchanger.sources.kube.reflector import Reflector

SecretState = SecretData | SecretProblem
Learn = Callable[[SecretState], None]
Work = Callable[[Learn], Awaitable[None]]

# Refusals without success in between after which the right counts as missing. One is not enough: an API server refuses everything for some
# 20 ms after its start, until it knows its roles, and a Role may be created a moment after the Deployment; the next try is a second later.
REFUSALS: Final = 2
# Seconds for which following a known Secret may fail before that is reported: an API server's restart is shorter and affects nothing. A
# longer failure that the policy's source does not report, such as a key server without which only Secrets are unreadable, would otherwise
# show only when old credentials are refused.
FAILING_S: Final = 60.0
# Seconds after the server accepted a watch until the known state counts as current: what happened since it was lost is sent at once. Before
# that, a version that was read meanwhile would be replaced by an older one for a moment.
SETTLED_S: Final = 1.0

_MALFORMED: Final = SecretProblem(SecretFault.MALFORMED, "is not a valid Secret")
_FAULTS: Final = {FailureKind.NOT_FOUND: SecretFault.MISSING, FailureKind.FORBIDDEN: SecretFault.FORBIDDEN}


def decode_secret(found: Mapping[str, object]) -> SecretState:
    """Read a Secret. Total."""
    metadata, data = found.get("metadata"), found.get("data") or {}
    version = metadata.get("resourceVersion") if isinstance(metadata, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(version, str):
        return _MALFORMED
    return secret_data(version, {key: value for key, value in data.items() if isinstance(key, str) and isinstance(value, str)})


SECRET: Final[Kind[SecretState]] = Kind("Secret", decode_secret)


@final
@attrs.frozen
class ApiSecrets:
    """The Secrets of one API server."""

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
        """Return a resource with this Secret alone.

        A Role that grants list and watch by ``resourceNames`` allows requests for one object in exactly this form:
        https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources.
        """
        path = path_of("api", "v1", "namespaces", secret.namespace, "secrets")
        return Resource(self._connection, path, SECRET, field_selector=f"metadata.name={secret.name}")


class Secrets(Protocol):
    """The Secrets of an API server, or of a test's."""

    async def read(self, secret: SecretName, /) -> SecretState:
        """Get one Secret by its name; failures are values."""

    def list_watch(self, secret: SecretName, /) -> ListWatch[SecretState]:
        """Return a resource with this Secret alone."""


@final
@attrs.define(eq=False)
class WatchingSecrets:
    """Implements ``issuers.secrets.SecretFollower``. ``watched`` and ``polled`` count the Secrets that are followed in each way."""

    _secrets: Secrets
    _random: Random = SYSTEM.random
    _polling: PollingSecrets = attrs.field(init=False)
    watched: int = attrs.field(default=0, init=False)
    polled: int = attrs.field(default=0, init=False)
    _reflectors: dict[Reflector[SecretState], None] = attrs.field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._polling = PollingSecrets(self._secrets.read, self._random)

    def retry_now(self) -> None:
        """End the waits after failures: there is reason to believe that the next attempts succeed, or matter more."""
        self._polling.retry_now()
        for reflector in self._reflectors:
            reflector.retry_now()

    async def follow(self, secret: SecretName, learn: Learn, /) -> NoReturn:
        while True:  # once: a reflector runs until it is cancelled
            async with trio.open_nursery() as nursery:
                watch = _Watch(secret, _SideTask(nursery, _Changes(learn)), partial(self._poll, secret))
                reflector = Reflector(self._secrets.list_watch(secret), watch, random=self._random)
                self._reflectors[reflector] = None
                self.watched += 1
                reflector.hurry(True)
                watch.relax = partial(reflector.hurry, False)
                try:
                    await reflector.run()
                finally:
                    self.watched -= 1
                    self._reflectors.pop(reflector, None)

    async def _poll(self, secret: SecretName, learn: Learn) -> None:
        self.polled += 1
        try:
            await self._polling.follow(secret, learn)
        finally:
            self.polled -= 1


@final
@attrs.define(eq=False)
class _Changes:
    """Passes on states that differ from the last one passed on."""

    _learn: Learn
    _last: SecretState | None = attrs.field(default=None, init=False)

    def __call__(self, found: SecretState) -> None:
        if found != self._last:
            self._last = found
            self._learn(found)


@final
@attrs.define(eq=False)
class _SideTask:
    """A task beside a watch, one at a time, which reports nothing once it is ended."""

    _nursery: trio.Nursery
    learn: _Changes
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def begin(self, work: Work) -> None:
        self.end()
        self._scope = trio.CancelScope()
        self._nursery.start_soon(self._run, work, self._scope)

    def end(self) -> None:
        self._scope.cancel()

    async def _run(self, work: Work, scope: trio.CancelScope) -> None:
        def learn(found: SecretState) -> None:
            if not scope.cancel_called:  # it may have been ended after the answer arrived, and before it was processed
                self.learn(found)

        with scope:
            await work(learn)


@final
@attrs.define(eq=False)
class _Watch:
    """Observer of one Secret's reflector; runs ``poll`` while that is refused.

    ``known`` is the last state of the Secret, from the first list on. ``lost_at`` is since when changes are not followed: never while they
    are, and for ever before the first time, when nothing is known and so there is nothing to wait for. ``relax`` is called once the Secret
    is known, or the right to watch it is missing: nothing waits for the watch any more.
    """

    _secret: SecretName
    _side: _SideTask
    _poll: Work
    relax: Callable[[], None] = attrs.field(default=lambda: None, init=False)
    _known: SecretState = attrs.field(init=False)
    _lost_at: float = attrs.field(default=-math.inf, init=False)
    _refusals: int = attrs.field(default=0, init=False)
    _told: set[SecretProblem] = attrs.field(factory=set, init=False)

    def objects_changed(self, items: Mapping[Key, Item[SecretState]], keys: Collection[Key] | None, /) -> None:
        if keys is None or self._key in keys:  # whatever the server makes of the field selector
            found = items.get(self._key)
            self._learn(_missing(self._secret) if found is None else found.value)

    def listed(self, name: str, count: int, resource_version: str, /) -> None:
        del name, count, resource_version
        self.relax()

    def failed(self, name: str, failure: ApiFailure, retry_in: float, /) -> None:
        del name, retry_in
        if failure.kind is FailureKind.FORBIDDEN:
            self._refusals += 1
            if self._refusals == REFUSALS:
                self.relax()
                self._side.begin(self._poll)
        elif self._refusals < REFUSALS and trio.current_time() >= self._lost_at + FAILING_S:  # otherwise polling reports the problem
            self._complain(secret_problem(self._secret, failure))

    def connected(self, name: str, connected: bool, /) -> None:  # noqa: FBT001 - the reflector's signature
        del name
        if connected:
            self._lost_at, self._refusals = math.inf, 0
            self._told.clear()
            self._side.begin(self._tell_again)
        else:
            self._lost_at = trio.current_time()
            self._side.end()

    def silent(self, name: str, seconds: float, /) -> None:
        """Ignore a silent watch: the known state is compared every minute then, and the policy's source reports the rest."""

    def went_back(self, name: str, known: str, found: str, /) -> None:
        """Ignore an older version: a list follows, and reports any difference."""

    def _learn(self, found: SecretState) -> None:
        self._known = found
        self._side.learn(found)

    def _complain(self, problem: SecretProblem) -> None:
        """Report each problem once until changes are followed again: failures of two kinds alternate in some outages, for hours."""
        if problem not in self._told:
            self._told.add(problem)
            self._side.learn(problem)

    async def _tell_again(self, learn: Learn) -> None:
        """Report the known state, replacing reports made while changes were not followed."""
        await trio.sleep(SETTLED_S)
        learn(self._known)

    @property
    def _key(self) -> Key:
        return Key(self._secret.namespace, self._secret.name)


def _missing(secret: SecretName) -> SecretProblem:
    return SecretProblem(SecretFault.MISSING, f"there is no Secret {secret}")


def secret_problem(secret: SecretName, failure: ApiFailure) -> SecretProblem:
    """Return what a failed request means for the users of ``secret``."""
    fault = _FAULTS.get(failure.kind, SecretFault.UNREACHABLE)
    match fault:
        case SecretFault.MISSING:
            return _missing(secret)
        case SecretFault.FORBIDDEN:
            text = f"needs list and watch on secrets/{secret.name} in the namespace {secret.namespace}"
        case _:
            text = f"the API server did not return it: {failure.kind.value}"
    return SecretProblem(fault, text)
