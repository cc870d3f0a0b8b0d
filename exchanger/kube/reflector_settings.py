"""How often and how long a reflector asks, and where the numbers come from."""

from typing import Final, final

import attrs

from exchanger.kube.backoff import BackOffSettings
from exchanger.kube.listing import ListBounds

MIN_WATCH_S: Final = 300.0
MAX_WATCH_S: Final = 600.0
"""Seconds that a watch is asked for, at random between the two as in client-go, so that watchers do not come back all at once."""
WATCH_MARGIN_S: Final = 15.0
"""Seconds after which a watch that the server should have ended is given up: it ends them to the second, and a round trip is short."""
SILENCE_S: Final = 75.0
"""Seconds without an event after which the server is asked whether it is still there. Bookmarks come each minute where they come at all
(``bookmarkFrequency`` of the API server's cacher); where they do not, this costs two requests in each such time."""
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
lost for ten minutes: long, but this is the last net below two others that take a minute and a half."""


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
    initial_silence: float = INITIAL_SILENCE_S
    settled: float = SETTLED_S
    accepted: float = ACCEPTED_S
    answer: float = ANSWER_S
    probe_timeout: float = PROBE_TIMEOUT_S
    compare: float = COMPARE_S
    compare_spread: float = COMPARE_SPREAD
