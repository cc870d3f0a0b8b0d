"""How long a reflector waits after a failure, and that somebody may be in a hurry.

Must not know: what is attempted.
"""

from random import Random
from typing import final

import attrs
import trio

from exchanger.kube.recovery import Setback
from exchanger.kube.reflector_settings import ReflectorSettings
from exchanger.util.backoff import BackOff


@final
@attrs.define(eq=False)
class Pace:
    """Waits after failures: by two back-offs, one for those of the server and one for lost places in its history, or in a hurry."""

    settings: ReflectorSettings
    random: Random
    hurried: bool = attrs.field(default=False, init=False)
    _back_off: BackOff = attrs.field(init=False)
    _lenient_back_off: BackOff = attrs.field(init=False)
    _woken: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._back_off = BackOff(self.settings.back_off, self.random)
        self._lenient_back_off = BackOff(self.settings.back_off, self.random)

    def hurry(self, hurried: bool) -> None:  # noqa: FBT001 - the one thing there is to set
        """Wait a few seconds from now on, and end the present wait; or leave it to the back-offs again."""
        self.hurried = hurried
        if hurried:
            self._woken.set()
            self._woken = trio.Event()

    def failed(self, setback: Setback, now: float) -> float:
        """Return how many seconds to wait after ``setback`` at ``now``."""
        back_off = self._lenient_back_off if setback.lenient else self._back_off
        wait = back_off.failed(now, at_least=setback.at_least, lenient=setback.lenient)
        if not self.hurried:
            return wait
        return max(min(wait, self.random.uniform(*self.settings.hurry)), setback.at_least)

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``, or until somebody gets into a hurry."""
        woken = self._woken
        with trio.move_on_after(seconds):
            await woken.wait()
