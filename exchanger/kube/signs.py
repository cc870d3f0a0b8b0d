"""Whether watches are to be trusted: what shows that they bring what happens, and when they have said too little for too long.

A watch that was taken may bring nothing although the server answers everything else: a proxy collects answers until they are complete, or
a stream stands still. What shows that it does not are events and bookmarks, and the end of a watch in good order, with which everything
arrives that was held back.

Must not know: requests, tasks, or clocks (times are handed in, in seconds of one clock).
"""

import math
from typing import Final, final

import attrs

from exchanger.kube.reflector_settings import ReflectorSettings

LIVE_S: Final = 1.0
"""Seconds before a watch's end for which something that it said was not held back until the end. API servers send a bookmark two seconds
before they end a watch."""


@final
@attrs.define(eq=False)
class Signs:
    """The signs of life of one resource's watches, one after the other.

    ``doubted``: watches were silent for too long, and none has spoken in time since. ``last``: when what is known was last known to be
    right, ``None`` before the first time. ``quiet``: seconds for which watches were followed without a sign of life.
    """

    settings: ReflectorSettings
    doubted: bool = attrs.field(default=False, init=False)
    last: float | None = attrs.field(default=None, init=False)
    quiet: float = attrs.field(default=0.0, init=False)
    _quiet_from: float = attrs.field(default=math.inf, init=False)
    _first_event: float = attrs.field(default=math.inf, init=False)
    _ended_well: bool = attrs.field(default=False, init=False)

    def listed(self, now: float) -> None:
        """Everything was listed."""
        self.last, self.quiet = now, 0.0

    def taken(self, now: float) -> bool:
        """The server has taken a watch; return whether that means that changes are followed.

        It does, unless watches have been taken before and have said nothing: then one has to end in good order first.
        """
        self._quiet_from, self._first_event = now, math.inf
        if not self.doubted:
            self.last = now
        return not self.doubted or self._ended_well

    def spoken(self, now: float) -> None:
        """The watch has brought an event or a bookmark."""
        self._first_event = min(self._first_event, now)
        self._seen(now)

    def ended(self, now: float) -> None:
        """The server has ended the watch in good order."""
        self._seen(now)
        self._ended_well = True
        # Something that came with the end does not show that it came when it happened. Where watches are short anyway, that is good enough.
        if self.settings.is_short or now - self._first_event >= LIVE_S:
            self.doubted = False

    def left(self, now: float) -> None:
        """The watch is over, however that came."""
        self.quiet += max(0.0, now - self._quiet_from)
        self._quiet_from = math.inf

    def fell_silent(self) -> bool:
        """The watch that is over was silent for too long; return whether that is news."""
        news, self.doubted = not self.doubted, True
        self.quiet, self._ended_well = 0.0, False
        return news

    @property
    def silence(self) -> float:
        """Seconds for which the next watch, or the present one from its last sign of life on, may say nothing."""
        settings = self.settings
        if self.doubted:
            return max(0.0, settings.short_silence - self.quiet)
        return max(0.0, min(settings.silence, settings.patience - self.quiet))

    @property
    def lengths(self) -> tuple[float, float]:
        """The seconds between which the next watch should be asked for."""
        return self.settings.short_watch if self.doubted else (self.settings.min_watch, self.settings.max_watch)

    @property
    def by_ends(self) -> bool:
        """Whether it is the ends of watches that show whether they are followed, and not bookmarks."""
        return self.doubted or self.settings.is_short

    def _seen(self, now: float) -> None:
        self.last = self._quiet_from = now
        self.quiet = 0.0
