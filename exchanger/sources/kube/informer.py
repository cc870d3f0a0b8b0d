"""One resource that is followed: whether it is complete, how old it is, and whether a right is missing."""

import re
from collections.abc import Callable, Collection, Mapping
from random import Random
from typing import Final, Generic, TypeVar, final

import attrs
import structlog
import trio

from exchanger.sources.kube.index import EVERY_NAMESPACE
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind, Item, Key, ListWatch
from exchanger.sources.kube.reflector import Reflector
from exchanger.sources.kube.settings import KubernetesSettings

T = TypeVar("T")

# Refusals in a row after which a right is missing: an API server refuses everything for a moment when it starts. The second one comes a
# second later.
REFUSALS: Final = 2
# The server's message: configmaps is forbidden: User "…" cannot list resource "configmaps" in API group "" at the cluster scope
# (https://kubernetes.io/docs/reference/access-authn-authz/authorization/). Only the verb is taken from it; the rest is known here.
_VERB: Final = re.compile(r"cannot (list|watch) resource")


def missing_right(resource: str, namespace: str, failure: ApiFailure) -> str:
    """Name the missing right, such as ``needs list on configmaps in every namespace``; "" if that is not the failure."""
    if failure.kind is not FailureKind.FORBIDDEN:
        return ""
    found = _VERB.search(failure.message)
    verb = found[1] if found else "list and watch"
    if resource == "namespaces":
        return f"needs {verb} on namespaces"
    return f"needs {verb} on {resource} in {f'the namespace {namespace}' if namespace else 'every namespace'}"


@final
@attrs.define(eq=False)
class Informer(Generic[T]):
    """Runs the reflector of one resource, ``namespaces`` or ``configmaps``, and logs its events.

    ``changed`` is called with the keys that differ, or ``None`` for anything; the ``reflector``'s store has the known state.
    """

    resource: str
    namespace: str
    list_watch: ListWatch[T]
    changed: Callable[[Collection[Key] | None], None]
    settings: KubernetesSettings
    random: Random
    reconnected: Callable[[], None]
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    complete: bool = attrs.field(default=False, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    # How often in a row the server has refused for lack of a right.
    _refusals: int = attrs.field(default=0, init=False)
    reflector: Reflector[T] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reflector = Reflector(self.list_watch, self, self.settings.reflector, self.random)

    async def run(self) -> None:
        """Follow the resource until cancelled, or until ``close``."""
        with self._scope:
            await self.reflector.run()

    def close(self) -> None:
        """Stop following it."""
        self._scope.cancel()
        self._refused(0)

    @property
    def is_unreadable(self) -> bool:
        """Whether the right to read it is missing."""
        return self._refusals >= REFUSALS

    def current_until(self, now: float) -> float:
        """Return until when (seconds of trio's clock) the known state was current; ``now`` if it still is.

        It is current while changes are followed, none can be missing, and the server is silent for no longer than servers are. In a silence
        it was current at the last sign of life, however much later that was noticed. Without a watch that was followed for a while, it was
        at the beginning of the last list, whatever a watch brought: that may be long behind.
        """
        reflector = self.reflector
        last, until = reflector.health.last, reflector.caught_up_until(now)
        if last is None:
            return now
        return min(until, last) if not reflector.connected or now - last > self.settings.reflector.silence else until

    def objects_changed(self, items: Mapping[Key, Item[T]], keys: Collection[Key] | None, /) -> None:
        del items
        self.changed(keys)

    def listed(self, name: str, count: int, resource_version: str, /) -> None:
        del resource_version
        self._log.info("policy.source_listed", resource=name, objects=count)
        self.complete = True
        self.changed(())

    def failed(self, name: str, failure: ApiFailure, retry_in: float, /) -> None:
        right = missing_right(self.resource, self.namespace, failure)
        self._log.warning(
            "policy.source_failed",
            resource=name,
            kind=failure.kind.value,
            status=failure.status,
            reason=right or failure.message,
            retry_in_s=round(retry_in, 1),
        )
        if right:
            self._refused(self._refusals + 1, right)

    def connected(self, name: str, connected: bool, /) -> None:  # noqa: FBT001 - the reflector's signature
        if not connected:
            self._log.warning("policy.source_disconnected", resource=name, text="the last known policy stays active")
            return
        self._refused(0)
        self._log.info("policy.source_connected", resource=name)
        self.reconnected()

    def silent(self, name: str, seconds: float, /) -> None:
        self._log.warning(
            "policy.source_silent",
            resource=name,
            silent_s=round(seconds, 1),
            text="watches are accepted but deliver nothing: a proxy in between may be buffering responses. Objects are listed again"
            " every minute until a watch delivers",
        )

    def went_back(self, name: str, known: str, found: str, /) -> None:
        self._log.warning("policy.source_rolled_back", resource=name, known=known, found=found)

    def _refused(self, times: int, right: str = "") -> None:
        """Count how often in a row the server has refused; report when that makes a named Namespace unreadable, or readable again."""
        before, self._refusals = self.is_unreadable, times
        if self.namespace == EVERY_NAMESPACE or self.is_unreadable is before:
            return
        if self.is_unreadable:
            self._log.error(
                "policy.namespace_unreadable",
                namespace=self.namespace,
                reason=right,
                text="an unreadable Namespace might contain deny rules, so no policy is active after a start, or once "
                "POLICY_MAX_STALENESS has passed. Restore the permission, or remove the name from the list of Namespaces",
            )
        else:
            self._log.info("policy.namespace_readable", namespace=self.namespace)
