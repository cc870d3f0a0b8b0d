"""``grpc.health.v1.Health``, for probes and gateways.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from collections.abc import AsyncIterator, Callable
from typing import Final, final

import attrs
import trio

from exchanger._proto.grpc.health.v1.health_grpc import HealthServicer
from exchanger._proto.grpc.health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)
from exchanger.net.grpc.status import GrpcError, StatusCode

# This name is always SERVING: a liveness probe must not restart a process that waits for its policy, or drains. It is not a service, so
# ``List`` does not name it.
LIVENESS: Final = "liveness"

_SERVING: Final = HealthCheckResponse.SERVING
_NOT_SERVING: Final = HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN: Final = HealthCheckResponse.SERVICE_UNKNOWN


@final
@attrs.define(eq=False)
class HealthBoard:
    """Whether this process wants traffic: only while a policy is active, and never again once it drains."""

    _ready: bool = attrs.field(default=False, init=False)
    draining: bool = attrs.field(default=False, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def serving(self) -> bool:
        """True while a complete policy is active, until the drain starts."""
        return self._ready and not self.draining

    def set_ready(self) -> None:
        """A complete policy is active."""
        self._set(ready=True, draining=self.draining)

    def set_unready(self) -> None:
        """Report that no policy is active any more."""
        self._set(ready=False, draining=self.draining)

    def set_draining(self) -> None:
        """Report that the process is about to end."""
        self._set(ready=self._ready, draining=True)

    def _set(self, *, ready: bool, draining: bool) -> None:
        before = self.serving
        self._ready, self.draining = ready, draining
        if self.serving != before or draining:
            self._changed.set()
            self._changed = trio.Event()

    async def changed(self) -> None:
        """Wait for the next change; the caller's cancel scope ends the wait."""
        await self._changed.wait()


@final
@attrs.define(eq=False)
class HealthService(HealthServicer):
    """The health service for ``""``, each name in ``services``, and ``LIVENESS``; ``on_check`` learns of each answered Check."""

    board: HealthBoard
    services: frozenset[str]
    on_check: Callable[[str, bool], None] = lambda _service, _serving: None

    def _status(self, service: str) -> HealthCheckResponse.ServingStatus.ValueType:
        if service == LIVENESS:
            return _SERVING
        if service and service not in self.services:
            return _SERVICE_UNKNOWN
        return _SERVING if self.board.serving else _NOT_SERVING

    async def Check(self, input_message: HealthCheckRequest) -> HealthCheckResponse:  # noqa: N802 - the name of the RPC
        """Answer for one service.

        Raises:
            GrpcError: NOT_FOUND, for a service that is not here.
        """
        await trio.lowlevel.checkpoint()
        status = self._status(input_message.service)
        if status == _SERVICE_UNKNOWN:
            raise GrpcError(StatusCode.NOT_FOUND, "unknown service")
        self.on_check(input_message.service, status == _SERVING)
        return HealthCheckResponse(status=status)

    async def List(self, input_message: HealthListRequest) -> HealthListResponse:  # noqa: N802 - the name of the RPC
        """Answer for every service."""
        del input_message
        await trio.lowlevel.checkpoint()
        return HealthListResponse(
            statuses={service: HealthCheckResponse(status=self._status(service)) for service in ("", *sorted(self.services))}
        )

    async def Watch(self, input_message: HealthCheckRequest) -> AsyncIterator[HealthCheckResponse]:  # noqa: N802 - the name of the RPC
        """Answer now and after each change, until the call ends or the drain begins. An unknown service is a status here, not an error."""
        last = None
        while True:
            status = self._status(input_message.service)
            if status != last:
                last = status
                yield HealthCheckResponse(status=status)
            elif self.board.draining:
                return  # nothing changes any more, and the drain waits for running calls
            else:
                await self.board.changed()
