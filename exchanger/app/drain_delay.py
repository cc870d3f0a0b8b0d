"""The first part of a drain: keep serving until gateways have seen this instance draining."""

from collections.abc import Callable
from typing import Final, final

import attrs
import trio

from exchanger.authz.envoy.health import LIVENESS

# Seconds: some intervals of a gateway's quick health checks, and what follows. In Kubernetes, the pre-stop sleep comes before.
FADE_S: Final = 3.0
# Seconds for which a gateway that knows may still send requests. Envoy collects changes of health for ``update_merge_window``, a second by
# default, before its workers see them; a machine that stalls has some room.
# https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/cluster.proto#config-cluster-v3-cluster-commonlbconfig
KNOWN_S: Final = 1.2
# Seconds without a request after which no gateway is assumed to send any.
QUIET_S: Final = 0.3
# Checks within QUIET_S. A machine that stalls misses one check at most, so that its pause is not taken for silence.
LOOKS: Final = 6
# Seconds: a gateway that checked health as recently as this will check again. Envoy's default interval without traffic is a minute, but a
# gateway that checks that seldom does not notice within FADE_S either.
CHECKED_S: Final = 30.0


@final
@attrs.define(eq=False)
class DrainDelay:
    """Waits until gateways have stopped sending requests; ``answered()`` returns the number of requests answered so far."""

    answered: Callable[[], int]
    _checked_at: float | None = attrs.field(init=False, default=None)
    _told_at: float | None = attrs.field(init=False, default=None)

    def checked(self, service: str, *, serving: bool) -> None:
        """Record an answered health check. Liveness probes are the kubelet's; they direct no traffic."""
        if service != LIVENESS:
            self._checked_at = trio.current_time()
            if not serving and self._told_at is None:
                self._told_at = self._checked_at

    async def run(self, longest: float) -> None:
        """Return once no requests arrive and gateways that check health send none; after ``longest`` seconds or ``FADE_S`` at the latest.

        A refused connection costs a gateway the request that it was opened for, so the listeners stay open until then. Silence is not
        enough: a gateway that paused may send again.
        """
        self._told_at = None
        watched = self._checked_at is not None and trio.current_time() - self._checked_at < CHECKED_S
        quiet = 0
        with trio.move_on_after(min(FADE_S, longest)):
            while quiet < LOOKS or (watched and not self._is_known()):
                before = self.answered()
                await trio.sleep(QUIET_S / LOOKS)
                quiet = quiet + 1 if self.answered() == before else 0

    def _is_known(self) -> bool:
        return self._told_at is not None and trio.current_time() - self._told_at >= KNOWN_S
