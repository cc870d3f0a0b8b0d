"""When texts are read, when a version is built, and which versions decide requests: a state machine without I/O.

Each method takes an event and the time (seconds of any monotonic clock), and returns what is to be done, in order. Reading is long and
needs nothing but the text, so it runs beside everything else. Building is short, and one build follows the other, so nothing is merged.

A version is *settled* if it has all that the feeds know, and no feed is behind: it is one moment of the source. Until then its parts are
of different moments, and a denial that moved may be gone from one part and not yet in the other. So the last settled version decides beside
the newest one, and the stricter decision counts: what tightens takes effect at once, and what loosens waits for a bounded time.

========= ============================= =========================================================== =========
State     What decides requests         Event                                                       State
========= ============================= =========================================================== =========
closed    nothing: all are refused      all feeds have caught up, and what was known then is built  settled
settled   the newest version            ``applied``, ``granted``, ``use_issuers`` with news         unsettled
                                        ``fell_behind``                                             behind
unsettled the newest version, and the   ``built``, and nothing is left to read or to build          settled
          last settled one              ``tick`` after ``HOLD_S``: the newest replaces the settled  unsettled
                                        ``fell_behind``                                             behind
behind    the same                      ``caught_up`` or ``passed``, and what was known then is read  unsettled
                                        ``tick`` after ``max_staleness``                            closed
========= ============================= =========================================================== =========

Two feeds deliver in no common order. So while one is behind, what the others have reported settles once it has ``passed`` the moment of
their last report: then it has reported whatever belongs to that.

Must not know: threads, tasks, Kubernetes, or files.
"""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Final, TypeAlias, TypeVar, final

import attrs
from rpds import HashTrieMap

from exchanger.model.entry import Source
from exchanger.policy.documents.document import Labels, PolicyDocument
from exchanger.policy.grants.allowance import Allowance, Grants
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.revocation import Revocation
from exchanger.policy.selection import Change, DocumentText, Text
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.publish.build import FIRST_BUDGET_S, Build, Built, NamespaceLabels, Read, Regrant, Revoke
from exchanger.sources.publish.pending import Lane, Pending

# Seconds for which what loosens waits while anything is unread: a removal takes effect within two seconds, whatever other namespaces do.
# A document of 5,000 entries is read within one.
HOLD_S: Final = 1.5
# Seconds for which a build waits for more while light texts are being read.
GATHER_S: Final = 0.03
# Sources that are looked at for one event: about 1 ms.
STEP: Final = 200


@final
@attrs.frozen
class Publish:
    """Let ``change.snapshot`` decide requests. ``reopens``: all of them have been refused so far, because what was known was too old."""

    change: Change
    reopens: bool


@final
@attrs.frozen
class Close:
    """Refuse all requests: what is known is of ``known_until``, which is too old."""

    known_until: float


@final
@attrs.frozen
class HoldBack:
    """Changes that would loosen wait for a feed from now on; if not ``held``, no longer."""

    held: bool


@final
@attrs.frozen
class SetTimer:
    """Call ``tick`` at this time. There is one timer; actions without it stop it."""

    at: float


T = TypeVar("T")
Action: TypeAlias = Read | Build | Revoke | Regrant | Publish | Close | HoldBack | SetTimer


@final
@attrs.define(eq=False)
class _Ready:
    """What the next build applies; see ``Build``. ``since`` is when there first was something.

    ``losing`` are the namespaces whose rights a build takes away before, as they may have lost some with their labels.
    """

    documents: dict[Source, PolicyDocument | None] = attrs.field(factory=dict, init=False)
    relabelled: dict[str, None] = attrs.field(factory=dict, init=False)
    losing: dict[str, None] = attrs.field(factory=dict, init=False)
    unread: dict[Source, None] = attrs.field(factory=dict, init=False)
    since: float = attrs.field(default=math.inf, init=False)

    def begin(self, now: float) -> None:
        self.since = min(self.since, now)


@final
@attrs.define(eq=False)
class _NextGrants:
    """Grants that will replace the present ones: first ``revocation`` takes rights away, then all documents are held against them.

    ``is_revoked``: the revocation is that of these grants, not of earlier ones that came to nothing; ``lost`` are rights that it lacks.
    ``held`` are the newest and the settled version under these grants; ``settled`` is the settled version without them. ``documents`` and
    ``relabelled`` namespaces have been built since.
    """

    grants: Grants
    revocation: Revocation | None = None
    is_revoked: bool = attrs.field(default=False, init=False)
    lost: dict[str, tuple[Allowance, ...]] = attrs.field(factory=dict, init=False)
    settled: PolicySnapshot | None = attrs.field(default=None, init=False)
    held: tuple[PolicySnapshot, PolicySnapshot] | None = attrs.field(default=None, init=False)
    documents: dict[Source, PolicyDocument | None] = attrs.field(factory=dict, init=False)
    relabelled: dict[str, None] = attrs.field(factory=dict, init=False)

    def revoke(self, revocation: Revocation) -> None:
        """Take away what ``revocation`` does."""
        self.revocation, self.is_revoked = revocation, True
        self.lose(self.lost)

    def lose(self, lost: Mapping[str, tuple[Allowance, ...]]) -> None:
        """Take away these rights, too."""
        self.lost = {**self.lost, **lost}
        if self.is_revoked and self.revocation is not None and lost:
            allowances = self.revocation.allowances
            for name, own in lost.items():
                allowances = allowances.insert(name, own)
            self.revocation = attrs.evolve(self.revocation, allowances=allowances)


@final
@attrs.define(eq=False)
class Machine:
    """``feeds`` are all that must catch up before the first version, and ``start`` is a version without documents.

    ``issuers`` are the profiles that entries may refer to. ``max_staleness``: seconds after which what a feed knew counts for nothing; 0
    for no limit.
    """

    feeds: Iterable[str]
    issuers: frozenset[str] = frozenset()
    start: PolicySnapshot = PolicySnapshot.EMPTY
    max_staleness: float = 0.0
    pending: Pending = attrs.field(factory=Pending, init=False)
    newest: PolicySnapshot = attrs.field(init=False)
    settled: PolicySnapshot = attrs.field(init=False)
    # The labels of all namespaces that feeds have described, and the namespaces that they describe no longer. The last labels of a
    # namespace count until no version has its documents: otherwise the settled version would get rights back that labels had revoked.
    _labels: NamespaceLabels = attrs.field(factory=HashTrieMap, init=False, repr=False)
    _undescribed: dict[str, None] = attrs.field(factory=dict, init=False, repr=False)
    # What events have brought and is not looked at yet, in steps.
    _steps: deque[Iterator[None]] = attrs.field(factory=deque, init=False, repr=False)
    # The feeds that may not know everything, and until when each does: minus infinity for those that know nothing yet.
    behind: dict[str, float] = attrs.field(init=False)
    # When each feed reported something new last.
    _reported_at: dict[str, float] = attrs.field(factory=dict, init=False)
    # The number of the last change that came before all feeds had caught up with each other; minus infinity once all of these are read.
    _recovers_until: float = attrs.field(default=math.inf, init=False)
    _reading: set[Lane] = attrs.field(factory=set, init=False)
    _ready: _Ready = attrs.field(factory=_Ready, init=False, repr=False)
    _building: Build | None = attrs.field(default=None, init=False, repr=False)
    # The next grants until a version is built under them; and those, or earlier ones, for which a thread is doing something.
    next_grants: _NextGrants | None = attrs.field(default=None, init=False, repr=False)
    _granting: _NextGrants | None = attrs.field(default=None, init=False, repr=False)
    # Whether a version decides requests.
    is_open: bool = attrs.field(default=False, init=False)
    _was_open: bool = attrs.field(default=False, init=False)
    # Seconds of CPU that each namespace has cost while closed; infinite once nothing waits for it any longer.
    _costs: defaultdict[str, float] = attrs.field(factory=lambda: defaultdict(float), init=False, repr=False)
    # When the settled version ceased to be the newest one.
    _unsettled_at: float = attrs.field(default=math.inf, init=False)
    # How the newest version differs from the one that was published last.
    _differs: dict[Source, EffectiveDocument | None] = attrs.field(factory=dict, init=False, repr=False)
    _holds_back: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.newest = self.settled = self.start
        self.behind = dict.fromkeys(self.feeds, -math.inf)

    @property
    def unread(self) -> int:
        """How many changes are in no version yet."""
        building = 0 if self._building is None else len(self._building.documents)
        return len(self.pending) + len(self._ready.documents) + building + len(self._steps)

    def applied(
        self,
        texts: Mapping[Source, DocumentText | None],
        now: float,
        labels: Mapping[str, tuple[Labels, ...] | None] = {},
        *,
        feeds: Collection[str] = ("",),
    ) -> list[Action]:
        """Feeds report one moment of their source.

        Args:
            texts: the new texts, ``None`` for what is gone; an entry that is gone from one and in another of them is never gone in between
            now: the time
            labels: namespaces with new labels, ``None`` for those that are gone
            feeds: those from which the news is
        """
        described = _step_by_step(partial(self._describe, feeds, now), labels.items())
        put = _step_by_step(partial(self._put, feeds, now), texts.items())
        removed = _step_by_step(partial(self._remove, feeds, now), [source for source, text in texts.items() if text is None])
        self._steps.append(chain(described, put, removed))
        return self._next(now)

    def passed(self, feed: str, until: float, now: float) -> list[Action]:
        """A feed that is behind has reported everything up to ``until``."""
        if feed in self.behind:
            self.behind[feed] = max(self.behind[feed], until)
        return self._next(now)

    def caught_up(self, feed: str, now: float) -> list[Action]:
        """A feed has reported everything, or is no longer followed."""
        self.behind.pop(feed, None)
        return self._next(now)

    def fell_behind(self, feed: str, known_until: float, now: float) -> list[Action]:
        """A feed may not know what has happened since ``known_until``, which is minus infinity if that is unknown: it closes nothing."""
        self.behind[feed] = min(known_until, self.behind.get(feed, math.inf))
        return self._next(now)

    def granted(self, grants: Grants, now: float) -> list[Action]:
        """All documents are restricted by ``grants`` from now on. They change over in one version; what is revoked is revoked before."""
        earlier = self.next_grants
        self.next_grants = _NextGrants(grants, None if earlier is None else earlier.revocation)
        return self._next(now)

    def use_issuers(self, names: frozenset[str], now: float) -> list[Action]:
        """Entries may refer to these profiles from now on: all documents are read again."""
        if names != self.issuers:
            self.issuers = names
            building = () if self._building is None else tuple(self._building.documents)
            known = (effective.source for effective in self.newest.documents())
            self._steps.append(_step_by_step(self._read_again, chain(known, tuple(self._ready.documents), building)))
        return self._next(now)

    def read(self, lane: Lane, documents: Mapping[Source, PolicyDocument], now: float, costs: Mapping[str, float] = {}) -> list[Action]:
        """Texts have been read, which has cost namespaces these seconds of CPU."""
        self._reading.remove(lane)
        ready = self._ready
        for source in self.pending.done(documents):
            document = ready.documents[source] = documents[source]
            ready.begin(now)
            if not self._is_current(document):
                self.pending.put(source, Text(document.text), again=True)
        if not self.is_open:
            for name, seconds in costs.items():
                self._costs[name] += seconds
        return self._next(now)

    def revoked(self, revocation: Revocation, now: float) -> list[Action]:
        """The rights that the next grants revoke are known."""
        coming = self._granted()
        if coming is not None:
            coming.revoke(revocation)
        return self._next(now, differs=coming is not None)

    def regranted(self, newest: PolicySnapshot, settled: PolicySnapshot, now: float) -> list[Action]:
        """The documents of two versions are held against the next grants."""
        coming = self._granted()
        if coming is not None:
            coming.held = newest, settled
            self._ready.begin(now)
        return self._next(now)

    def _granted(self) -> _NextGrants | None:
        """Return the next grants if something has been done for them, and not for earlier ones."""
        done, self._granting = self._granting, None
        return done if done is self.next_grants else None

    def built(self, built: Built, now: float) -> list[Action]:
        """A version has been built."""
        order, self._building, coming = self._building, None, self.next_grants
        if order is None:
            raise AssertionError("nothing is built twice")
        is_regranted = order.base is not order.before
        versions = (built.version, order.before), (built.settled, order.settled)
        is_revoked = bool(built.lost) or any(after.revocation is not before.revocation for after, before in versions)
        was_settled, differs = self.settled is self.newest, bool(built.differs) or is_regranted or is_revoked
        if is_regranted or self.settled is order.settled:
            if coming is not None and coming.settled is self.settled:
                coming.settled = built.settled  # it is the same but for its rights
            self.settled = built.settled
        self.newest = built.version
        if was_settled and differs:
            self._unsettled_at = now
        elif was_settled:
            self.settled = self.newest
        self._differs.update(built.differs)
        if coming is not None and coming.held is not None and order.base is coming.held[0]:
            self.next_grants = None
        elif coming is not None:
            coming.documents.update(built.documents)
            coming.relabelled.update(dict.fromkeys(order.relabelled))
            if order.next_grants is coming.grants:  # the rights that are lost under earlier ones are others
                coming.lose(built.lost)
            if coming.revocation is not None and not coming.is_revoked and built.lost:
                coming.revocation = coming.revocation.beside(attrs.evolve(coming.revocation, allowances=HashTrieMap(built.lost)))
        if built.to_read:
            self._steps.append(_step_by_step(self._read_again, built.to_read))
        return self._next(now, differs=differs, completes=order.completes)

    def tick(self, now: float) -> list[Action]:
        """Do what is due."""
        return self._next(now)

    def _next(self, now: float, *, differs: bool = False, completes: bool = False) -> list[Action]:
        """Return what is to be done ``now``. ``differs``: the newest version does; ``completes``: it may be the first one."""
        while self._steps and next(self._steps[0], _END) is _END:
            self._steps.popleft()
        if not self._steps:
            self._take_removals(now)
        self._recover(now)
        if now >= self._settles_at:  # before the next build begins, which may be that of more labels, and so on without end
            differs |= self._settle()
        actions = [*self._work(now), *self._publish(now, differs=differs, completes=completes)]
        expires_at = self._expires_at if self.is_open else math.inf
        at = min(now if self._steps else math.inf, self._builds_at, expires_at, self._settles_at)
        _ensure(at >= now, "the timer is never in the past")
        _ensure(self.settled is self.newest or self._unsettled_at <= now, "the settled version is never newer than the newest")
        return actions if at == math.inf else [*actions, SetTimer(at)]

    # What events have brought.

    def _describe(self, feeds: Collection[str], now: float, namespace: tuple[str, tuple[Labels, ...] | None]) -> None:
        name, described = namespace
        if described is None:
            self._undescribed[name] = None
            return
        self._undescribed.pop(name, None)
        if described != self._labels.get(name):
            self._differ(feeds, now)
            self._labels = self._labels.insert(name, described)
            self._ready.relabelled[name] = None
            if self._may_lose(name):
                self._ready.losing[name] = None
            self._outdate()
            self._ready.begin(now)

    def _outdate(self) -> None:
        """Let the build under way not be the first version: it lacks what has come since."""
        if self._building is not None:
            self._building = attrs.evolve(self._building, completes=False)

    def _forget(self, namespace: str) -> None:
        self._labels = self._labels.discard(namespace)

    def _put(self, feeds: Collection[str], now: float, report: tuple[Source, DocumentText | None]) -> None:
        source, text = report
        if text is not None and not self._says(source, text):
            self._differ(feeds, now)
            self.pending.put(source, text)

    def _remove(self, feeds: Collection[str], now: float, source: Source) -> None:
        if self._may_have(source):
            self._differ(feeds, now)
            self.pending.put(source, None)

    def _differ(self, feeds: Collection[str], now: float) -> None:
        """Take note that ``feeds`` reported something new: others that are behind may not know what belongs to it."""
        self._reported_at.update(dict.fromkeys(feeds, now))

    def _read_again(self, source: Source) -> None:
        """Read a document again if it is not as it would be read now."""
        document = self._document(source)
        if document is not None and not self._is_current(document):
            self.pending.put(source, Text(document.text), again=True)

    def _document(self, source: Source) -> PolicyDocument | None:
        """Return the document of ``source`` that was read last; one of which only the text is kept counts as not read."""
        for documents in (self._ready.documents, {} if self._building is None else self._building.documents):
            if source in documents:
                return documents[source]
        effective = self.newest.document(source)
        if effective is None:
            return None
        return attrs.evolve(effective.document, issuers=None) if effective.is_over_quota else effective.document

    def _is_current(self, document: PolicyDocument) -> bool:
        """Return whether a document is as it would be read now. One without a text is not read."""
        return document.text is None or document.issuers == self.issuers

    def _says(self, source: Source, text: DocumentText) -> bool:
        """Return whether ``text`` is the newest one of ``source``; ``False`` if that is unclear."""
        if (known := self.pending.text(source)) is not None:
            return known == text
        if self.pending.concerns(source) or source in self._ready.documents or self._building is not None:
            return False
        effective = self.newest.document(source)
        if effective is None or not isinstance(text, Text) or text.text is None:
            return False
        return effective.text == text.text and (effective.is_over_quota or self._is_current(effective.document))

    def _may_have(self, source: Source) -> bool:
        """Return whether ``source`` has a document, or may have one."""
        if self._building is not None or self.pending.concerns(source) or source in self._ready.documents:
            return True
        return self.newest.document(source) is not None

    def _may_lose(self, namespace: str) -> bool:
        """Return whether a namespace may lose rights with other labels that a version has now."""
        has_any = self._building is not None or namespace in self.newest.namespaces or namespace in self.settled.namespaces
        return self.is_open and self.newest.grants.limited and has_any

    # What is to be done.

    def _take_removals(self, now: float) -> None:
        """Let the next build remove what need not wait for older texts."""
        removals = self.pending.take_removals()
        self._ready.documents.update(removals)
        if self.pending.take_blocked() or removals:
            self._ready.begin(now)

    def _recover(self, now: float) -> None:
        """Find out whether everything is read that was known when the last feed caught up."""
        if not self._has_caught_up or now >= self._expires_at:
            self._recovers_until = math.inf
            self._outdate()
            return
        if self._is_recovered or self._steps:
            return
        if self._recovers_until == math.inf:
            self._recovers_until = self.pending.count
        excused: list[str] = []
        if not self.is_open:
            excused = [name for name, seconds in self._costs.items() if seconds > FIRST_BUDGET_S]
            for name in excused:
                if self._costs[name] != math.inf:
                    self._costs[name] = math.inf
                    self._ready.unread.update(self.pending.unread_in(name, self._recovers_until))
                    self._ready.begin(now)
        if self.pending.is_read_until(self._recovers_until, excused):
            self._recovers_until = -math.inf
            self._unsettled_at = now if self.settled is not self.newest else math.inf

    def _work(self, now: float) -> Iterator[Action]:
        """Yield what is to be read and built."""
        ready = self._ready
        for lane in Lane:
            if lane not in self._reading and (texts := self.pending.take(lane)):
                self._reading.add(lane)
                yield Read(lane, texts, self.issuers, self._known(texts))
        if (job := self._grant()) is not None:
            yield job
        if now >= self._builds_at:
            self._building = self._build(ready)
            yield self._building

    def _grant(self) -> Revoke | Regrant | None:
        """Return what is to be done for the next grants."""
        coming = self.next_grants
        if coming is None or coming.held is not None or self._granting is not None:
            return None
        self._granting = coming
        if not coming.is_revoked:
            return Revoke(coming.grants, (self.newest, self.settled), self._labels, self._building)
        coming.settled, coming.documents, coming.relabelled = self.settled, {}, {}
        return Regrant(coming.grants, self.newest, self.settled)

    def _build(self, ready: _Ready) -> Build:
        """Return the build of what is ``ready``, under the next grants if all that was built before is held against them."""
        base, settled, documents, relabelled, coming = self.newest, self.settled, ready.documents, ready.relabelled, self.next_grants
        if ready.losing:
            losing, ready.losing = ready.losing, {}
            return Build(base, base, settled, {}, self._labels, next_grants=None if coming is None else coming.grants, losing=losing)
        self._ready = _Ready()
        if coming is not None and coming.held is not None:
            base = coming.held[0]
            # One that has become the settled version since is not held against them; the build revokes what it may no longer do.
            settled = coming.held[1] if settled is coming.settled else attrs.evolve(settled, grants=coming.grants)
            documents, relabelled = {**coming.documents, **documents}, {**coming.relabelled, **relabelled}
        return Build(
            self.newest,
            base,
            settled,
            documents,
            self._labels,
            relabelled,
            self.pending.removals,  # in each build, since other labels or grants may permit what a document allows
            ready.unread,
            coming.grants if coming is not None and coming.held is None else None,
            completes=not self.is_open,
        )

    def _known(self, texts: Iterable[Source]) -> dict[Source, PolicyDocument]:
        """Return the documents that have been read before and may have the same text."""
        found = ((source, self.newest.document(source)) for source in texts)
        return {source: one.document for source, one in found if one is not None and not one.is_over_quota}

    def _publish(self, now: float, *, differs: bool, completes: bool) -> Iterator[Action]:
        """Yield which versions are to decide requests."""
        if self.is_open and now >= self._expires_at:
            self.is_open = False
            yield Close(self._expires_at - self.max_staleness)
        coming = self.next_grants
        is_built = self._ready.since == math.inf and self._building is None and coming is None
        is_complete = is_built or (completes and (coming is None or coming.is_revoked))
        opens = not self.is_open and self._is_recovered and is_complete and not self._regrants
        if not self.is_open and not opens:
            return
        reopens, self.is_open, self._was_open = opens and self._was_open, True, True
        is_settled = is_built and self.pending.is_read and self._is_recovered and not self._steps
        if opens or is_settled:
            differs |= self._settle() or opens
        if is_settled and self._undescribed:
            self._steps.append(_step_by_step(self._forget, self._undescribed))
            self._undescribed = {}
        if opens:
            self._costs.clear()
        if differs:
            yield Publish(self._change(), reopens=reopens)
        holds_back = self.settled is not self.newest and not self._is_recovered
        if holds_back is not self._holds_back:
            self._holds_back = holds_back
            yield HoldBack(holds_back)

    def _settle(self) -> bool:
        """Let the newest version take the place of the settled one; return whether that is another."""
        differs = self.settled is not self.newest
        self.settled, self._unsettled_at = self.newest, math.inf
        return differs

    def _change(self) -> Change:
        """Return what is to be published."""
        differs, self._differs = self._differs, {}
        documents = tuple([document for document in differs.values() if document is not None])
        removed = tuple([source for source, document in differs.items() if document is None])
        newest, settled = self.newest, self.settled
        coming = self.next_grants
        if coming is not None and coming.revocation is not None:
            # A revocation of earlier grants lacks what labels have lost since.
            others = [None if coming.is_revoked else version.revocation for version in (newest, settled)]
            newest, settled = (one.revoked_by(coming.revocation.beside(own)) for one, own in zip((newest, settled), others, strict=True))
        return Change(newest if self.settled is self.newest else attrs.evolve(newest, settled=settled), documents, removed)

    @property
    def _has_caught_up(self) -> bool:
        """Whether each feed knows the moment of what the others have reported."""
        reported = [(at, feed) for feed, at in self._reported_at.items()]
        return all(until > max((at for at, other in reported if other != feed), default=-math.inf) for feed, until in self.behind.items())

    @property
    def _is_recovered(self) -> bool:
        return self._recovers_until == -math.inf

    @property
    def _regrants(self) -> bool:
        """Whether the build under way replaces the settled version, too, by the same under the next grants."""
        return self._building is not None and self._building.base is not self._building.before

    @property
    def _builds_at(self) -> float:
        """The time at which a build is to begin."""
        if self._building is not None or not (self.is_open or self._is_recovered):
            return math.inf
        return self._ready.since + (GATHER_S if Lane.LIGHT in self._reading else 0.0)

    @property
    def _settles_at(self) -> float:
        """The time at which the newest version replaces the settled one, whatever is unread."""
        is_replaced = self._regrants or (self._building is not None and bool(self._building.relabelled))
        if not self.is_open or is_replaced:
            return math.inf  # the settled version is being built anew, too
        return self._unsettled_at + (HOLD_S if self._is_recovered else self.max_staleness or math.inf)

    @property
    def _expires_at(self) -> float:
        """The time at which what is known is too old."""
        known = [until for until in self.behind.values() if until > -math.inf]
        return min(known, default=math.inf) + self.max_staleness if self.max_staleness else math.inf


_END: Final = object()


def _step_by_step(take: Callable[[T], None], events: Iterable[T]) -> Iterator[None]:
    """Take each of ``events``, and pause after each ``STEP`` of them."""
    for number, event in enumerate(events, 1):
        take(event)
        if number % STEP == 0:
            yield


def _ensure(holds: bool, what: str) -> None:  # noqa: FBT001 - a condition
    """Stop if an invariant does not hold: nothing may open because of a mistake here."""
    if not holds:
        raise AssertionError(what)
