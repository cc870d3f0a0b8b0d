"""Settings of the Kubernetes source, and how often a reflector asks, with the reasons for the numbers."""

import math
import re
from pathlib import Path
from typing import Final, final

import attrs

from exchanger.model.selector import Selector
from exchanger.policy.limits import NamespaceLimits
from exchanger.sources.kube.store import ListBounds
from exchanger.util.backoff import BackOffSettings

# A Namespace's name is an RFC 1123 label (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names).
_NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

# Seconds for which a watch is requested, at random between the two as in client-go, so that watchers do not return all at once.
MIN_WATCH_S: Final = 300.0
MAX_WATCH_S: Final = 600.0
# Seconds after which a watch that the server should have ended is given up: servers end them to the second, and a round trip is short.
WATCH_MARGIN_S: Final = 15.0
# Seconds without an event after which a watch is suspect. Bookmarks come each minute (``bookmarkFrequency`` of the API server's cacher,
# whose timer adds a second or two); this adds a quarter for a busy server.
SILENCE_S: Final = 75.0
# The same for several successive watches that were each cut before they delivered anything: none was long enough for a bookmark, so it
# takes twice the time to tell this from bad luck.
PATIENCE_S: Final = 2 * SILENCE_S
# Seconds for which a suspect watch is requested. Its normal end shows that nothing was held back, without any bookmark; a proxy that
# buffers whole answers can hold an event back for no longer. That is about 110 requests an hour.
SHORT_WATCH_S: Final = (30.0, 36.0)
# Seconds after which a suspect watch should have ended. With the list that follows, the policy is at most a minute old.
SHORT_SILENCE_S: Final = 45.0
# Seconds without an event before the end of the initial ones: a server that is silent for so long does not know the request. One that knows
# it waits at most three seconds for its cache; client-go begins to complain after these ten.
INITIAL_SILENCE_S: Final = 10.0
# Seconds after which an accepted watch may end or break and be followed by the next one at once: something on the way that limits
# connections is not a failure of the server. client-go calls one second very short, and continues at once after it.
SETTLED_S: Final = 5.0
# Seconds after which a watch that is not accepted yet means that changes are not followed: accepting one takes a round trip.
ACCEPTED_S: Final = 5.0
# Seconds after the server accepted a watch until it has sent what was missed since the last one, which follows the head of the answer
# immediately.
CAUGHT_UP_S: Final = 1.0
# Seconds between a complete state and the watch that continues from it, in which nothing counts as missed: events may take as long anyway.
PROMPT_S: Final = 0.25
# Seconds for the server to accept a watch before it is given up: filling the server's cache takes some.
ANSWER_S: Final = 30.0
# Seconds for a list of one object, as long as a server lets a request run. If the server scans its whole store for it, it takes some.
PROBE_TIMEOUT_S: Final = 60.0
# Seconds between full comparisons, and their random part. A list of 10,000 objects is 20 pages, little for a server that sends a bookmark
# for as many watches each minute. This is the last net, below two others that take a minute and a half, and the only one that finds single
# events that were lost while bookmarks continued: a bookmark's version is the store's, and does not show a missing event.
COMPARE_S: Final = 600.0
COMPARE_SPREAD: Final = 0.2
# Seconds between attempts, at random between the two, while an outage causes requests to be refused: the policy's age costs more than 1,600
# small requests an hour.
HURRY_S: Final = (1.5, 3.0)
# Seconds for a suspect watch meanwhile: its end shows that changes are followed again.
HURRIED_WATCH_S: Final = (1.5, 3.0)
# Seconds for a probe meanwhile. A request that gets lost may be answered much later than the next one.
HURRIED_PROBE_S: Final = 10.0
# Signs of life that are due within the limit of the policy's age, so that one may be late without an outage.
SIGNS: Final = 3
# The lowest limit that watches follow: three seconds are the shortest useful ones.
MIN_LIMIT_S: Final = 10.0


@final
@attrs.frozen
class ReflectorSettings:
    """Durations in seconds; see the constants of the same names.

    ``max_resync``: the longest wait before a list where the server responds, and only its watches do not work.
    """

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
    caught_up: float = CAUGHT_UP_S
    prompt: float = PROMPT_S
    answer: float = ANSWER_S
    probe_timeout: float = PROBE_TIMEOUT_S
    compare: float = COMPARE_S
    compare_spread: float = COMPARE_SPREAD
    max_resync: float = math.inf
    hurry: tuple[float, float] = HURRY_S
    hurried_watch: tuple[float, float] = HURRIED_WATCH_S
    hurried_probe: float = HURRIED_PROBE_S

    @property
    def is_short(self) -> bool:
        """Whether every watch ends before its silence would count, so that nothing depends on bookmarks."""
        return self.max_watch < self.silence


def settings_for(limit: float) -> ReflectorSettings:
    """Return settings for a known state of at most ``limit`` seconds, 0 meaning no limit.

    Bookmarks show whether a watch is followed. Where one a minute is not enough, watches last a third of the limit instead: each normal
    end is a sign of life, and after two missing ones a third of the limit remains to list everything. For 30 seconds that is 400
    requests an hour, as many as a kubelet makes for its lease.
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
        max_resync=sign,
    )


@final
@attrs.frozen
class KubernetesSettings:
    """The two selectors, POLICY_NAMESPACES or POLICY_NAMESPACES_FILE, and POLICY_MAX_STALENESS.

    The server receives the selectors in the same language, so both sides select the same objects. With ``namespaces`` only these are
    followed, each separately; they count as selected, and Namespaces are not listed. With ``namespaces_file``, that is the file's content
    at the start, which later versions replace. ``max_staleness`` is in seconds, 0 means no limit; below ten seconds every watch that breaks
    is an outage.
    """

    namespace_selector: Selector
    configmap_selector: Selector
    namespaces: tuple[str, ...] = ()
    max_staleness: float = 0.0
    reflector: ReflectorSettings = attrs.field(default=attrs.Factory(lambda made: settings_for(made.max_staleness), takes_self=True))
    namespaces_file: Path | None = None

    def within(self, limits: NamespaceLimits) -> "KubernetesSettings":
        """Return the settings with ``limits`` for the objects of each namespace."""
        bounds = attrs.evolve(self.reflector.list_bounds, limits=limits)
        return attrs.evolve(self, reflector=attrs.evolve(self.reflector, list_bounds=bounds))

    @property
    def where(self) -> str:
        """Which Namespaces may have policy, in words."""
        return f"the Namespaces {', '.join(self.namespaces)}" if self.namespaces else f"Namespaces that match {self.namespace_selector}"


def is_namespace(text: str) -> bool:
    """Return whether ``text`` can be the name of a Namespace."""
    return _NAMESPACE.fullmatch(text) is not None


def parse_namespaces(text: str) -> tuple[str, ...]:
    """Read comma-separated names of Namespaces; blank text has none.

    Raises:
        ValueError: a part between commas is not the name of a Namespace, or occurs twice
    """
    names = tuple(name.strip() for name in text.split(",")) if text.strip() else ()
    for number, name in enumerate(names, start=1):
        if not is_namespace(name):
            raise ValueError(f"must be names of Namespaces separated by commas; number {number} is not one")
    if len(set(names)) != len(names):
        raise ValueError("has a name twice")
    return names
