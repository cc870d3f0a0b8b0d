"""The first part of a drain: keep answering until gateways know that this instance ends."""

from collections.abc import Callable
from typing import Final, final

import attrs
import trio

from exchanger.envoy.health import LIVENESS

# Seconds: some intervals of a gateway's quick health checks. In Kubernetes the pre-stop sleep has done this before SIGTERM.
FADE_S: Final = 2.0
# Seconds without a request after which no gateway is thought to send any.
QUIET_S: Final = 0.3
# Looks within QUIET_S. A machine that stalls misses one look at most, so that its pause is not taken for silence.
LOOKS: Final = 6
# Seconds: a gateway that checked health as recently as this will check again. Envoy's default interval without traffic is a minute,
# but whoever checks that seldom does not notice within FADE_S either.
CHECKED_S: Final = 30.0


@final
@attrs.define(eq=False)
class Fade:
    """Waits until gateways have stopped sending requests; ``answered()`` returns the number of requests answered so far."""

    answered: Callable[[], int]
    _checked_at: float | None = attrs.field(init=False, default=None)
    _told: bool = attrs.field(init=False, default=False)

    def checked(self, service: str, *, serving: bool) -> None:
        """Note an answered health check. Liveness probes are the kubelet's; they steer no traffic."""
        if service != LIVENESS:
            self._checked_at = trio.current_time()
            self._told = self._told or not serving

    async def run(self, longest: float) -> None:
        """Return once no requests arrive, and those who check health know why; after ``longest`` seconds or ``FADE_S`` at the latest.

        A refused connection costs a gateway the request that it was opened for, so the listeners stay open until then.
        """
        self._told = False
        watched = self._checked_at is not None and trio.current_time() - self._checked_at < CHECKED_S
        quiet = 0
        with trio.move_on_after(min(FADE_S, longest)):
            while quiet < LOOKS or (watched and not self._told):
                before = self.answered()
                await trio.sleep(QUIET_S / LOOKS)
                quiet = quiet + 1 if self.answered() == before else 0
