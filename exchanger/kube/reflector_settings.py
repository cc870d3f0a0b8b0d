"""How often and how long a reflector asks, and where the numbers come from."""

from typing import Final, final

import attrs

from exchanger.kube.listing import ListBounds
from exchanger.util.backoff import BackOffSettings

MIN_WATCH_S: Final = 300.0
MAX_WATCH_S: Final = 600.0
"""Seconds that a watch is asked for, at random between the two as in client-go, so that watchers do not come back all at once."""
WATCH_MARGIN_S: Final = 15.0
"""Seconds after which a watch that the server should have ended is given up: it ends them to the second, and a round trip is short."""
SILENCE_S: Final = 75.0
"""Seconds without an event after which a watch is in doubt. Bookmarks come each minute (``bookmarkFrequency`` of the API server's cacher,
whose timer adds a second or two), so this is one of them and a quarter more for a busy server."""
PATIENCE_S: Final = 2 * SILENCE_S
"""The same for several watches one after the other, each of which was cut before it said anything: none of them was long enough for a
bookmark, so it takes twice the time to tell this from bad luck."""
SHORT_WATCH_S: Final = (30.0, 36.0)
"""Seconds that a watch in doubt is asked for, at random between the two. Its end in good order shows that nothing was held back, without
any bookmark; something in between that keeps answers until they are complete can hold an event back for no longer. That is some
110 requests an hour."""
SHORT_SILENCE_S: Final = 45.0
"""Seconds after which a watch in doubt should have ended. With the list that follows, the policy is a minute old at most."""
INITIAL_SILENCE_S: Final = 10.0
"""Seconds without an event before the end of the initial ones: a server that lets so many pass does not know what was asked for. A
server that knows it waits three seconds at most for its cache; client-go begins to complain after these ten."""
SETTLED_S: Final = 5.0
"""Seconds after which a watch that was taken may end or break and be followed by the next one at once: something on the way that ends
connections after a time is no failure of the server. client-go calls one second very short, and goes on at once after it."""
ACCEPTED_S: Final = 5.0
"""Seconds after which a watch that the server has not taken yet means that changes are not followed: taking one needs a round trip."""
ANSWER_S: Final = 30.0
"""Seconds for the server to take a watch, before it is given up: one that fills its cache takes some."""
PROBE_TIMEOUT_S: Final = 60.0
"""Seconds for a list of one object: as long as a server lets a request run. One that looks through its whole store for it takes some."""
COMPARE_S: Final = 600.0
COMPARE_SPREAD: Final = 0.2
"""Every how many seconds everything is listed and compared, and which part of it chance adds or takes. A list of 10,000 objects is 20
pages; so many in ten minutes are nothing to a server that sends as many watches a bookmark each minute. By then a policy that was lost is
lost for ten minutes: long, but this is the last net below two others that take a minute and a half.

Only this net finds single events that were dropped on the way while bookmarks went on: a bookmark has a version, which is the store's and
moves on by itself, and nothing from which a missing event could be told."""
HURRY_S: Final = (1.5, 3.0)
"""Seconds between attempts, at random between the two, while requests are refused because of the outage: the policy's age costs more than
1,600 small requests in an hour."""
HURRIED_WATCH_S: Final = (1.5, 3.0)
"""Seconds for a watch in doubt meanwhile, at random between the two: its end shows that changes are followed again."""
HURRIED_PROBE_S: Final = 10.0
"""Seconds for a probe meanwhile. A request that was sent into a black hole may be answered much later than the next one."""
SIGNS: Final = 3
"""Signs of life that are due within the limit of the policy's age, so that one may come late without an outage."""
MIN_LIMIT_S: Final = 10.0
"""The lowest limit that watches follow: three seconds each are as short as they can usefully be."""


@final
@attrs.frozen
class ReflectorSettings:
    """Durations in seconds; the constants of the same names say why."""

    list_bounds: ListBounds = attrs.field(factory=ListBounds)
    back_off: BackOffSettings = attrs.field(factory=BackOffSettings)
    min_watch: float = MIN_WATCH_S
    max_watch: float = MAX_WATCH_S
    watch_margin: float = WATCH_MARGIN_S
    silence: float = SILENCE_S
    patience: float = PATIENCE_S
    short_watch: tuple[float, float] = SHORT_WATCH_S
    short_silence: float = SHORT_SILENCE_S
    initial_silence: float = INITIAL_SILENCE_S
    settled: float = SETTLED_S
    accepted: float = ACCEPTED_S
    answer: float = ANSWER_S
    probe_timeout: float = PROBE_TIMEOUT_S
    compare: float = COMPARE_S
    compare_spread: float = COMPARE_SPREAD
    hurry: tuple[float, float] = HURRY_S
    hurried_watch: tuple[float, float] = HURRIED_WATCH_S
    hurried_probe: float = HURRIED_PROBE_S

    @property
    def is_short(self) -> bool:
        """Whether every watch ends before its silence would count, so that nothing depends on bookmarks."""
        return self.max_watch < self.silence


def settings_for(limit: float) -> ReflectorSettings:
    """Return how often to ask where what is known may be at most ``limit`` seconds old, 0 meaning that there is no limit.

    Whether a watch is followed shows in its bookmarks. Where one a minute is too seldom, watches are asked for a third of the limit
    instead: each end in good order is a sign of life, and when two are missing there is still a third of the limit to list everything.
    With 30 seconds that is 400 requests an hour, as many as a kubelet makes for its lease.
    """
    if not 0.0 < limit < SIGNS * SILENCE_S:
        return ReflectorSettings()
    sign = max(limit, MIN_LIMIT_S) / SIGNS
    return ReflectorSettings(
        min_watch=0.75 * sign,
        max_watch=sign,
        silence=2 * sign,
        patience=2 * sign,
        short_watch=(0.75 * sign, sign),
        short_silence=2 * sign,
    )
