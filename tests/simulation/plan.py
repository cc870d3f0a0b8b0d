"""What a seed has: how many of whom, and which faults. Each kind of fault is off in about half of the seeds (swarm testing).

Each field says how it is drawn, from a stream of random numbers with the field's name; each kind of fault has a stream as well. So a new
field, or a new kind, leaves all others of a seed as they were.
"""

from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any, Final, final

import attrs

from tests.simulation.audit import DISK_FAULTS
from tests.simulation.certificates import CERTIFICATE_FAULTS
from tests.simulation.chain import FALSEHOODS
from tests.simulation.cluster import CLUSTER_FAULTS
from tests.simulation.doors import MANNERS
from tests.simulation.folder import FOLDER_FAULTS
from tests.simulation.grammar import GRAMMAR
from tests.simulation.grants import SPOILED
from tests.simulation.introspection import ODDITIES
from tests.simulation.issuer import FAULTS, STALL
from tests.simulation.kube_api import STRANGE
from tests.simulation.network import Links
from tests.simulation.proof import LIES
from tests.simulation.readers import READER_FAULTS
from tests.simulation.rotation import FILE_FAULTS
from tests.simulation.store import STORE_FAULTS, TIME_LIES

# What there is at least of what no world can be without.
_LEAST: Final[dict[str, int | float]] = {"storm": 1.0, "rate": 1.0, "users": 1, "issuers": 1, "gateways": 1, "namespaces": 1, "replicas": 1}
# Ways of a call: two for TLS, the request, its answer, and the gateway's question and its answer.
WAYS: Final = 6


@final
@attrs.frozen
class Draw:
    """A field of a seed that is being drawn. ``known`` has the fields before it."""

    seed: int
    field: str
    known: dict[str, Any]

    def stream(self, kind: str = "") -> Random:
        """Return the field's own stream, or that of one kind in it."""
        return Random(f"{self.seed} {self.field} {kind}")


Distribution = Callable[[Draw], object]


def _drawn(default: object, distribution: Distribution) -> Any:
    return attrs.field(default=default, metadata={"distribution": distribution})


def one_of(*values: object) -> Distribution:
    """Draw one of these values."""
    return lambda draw: draw.stream().choice(values)


def in_some(share: float, *values: object, otherwise: object = None) -> Distribution:
    """Draw one of these values in a share of the seeds, by default ``True``; in the others, ``otherwise``, or nothing of its type."""

    def distribution(draw: Draw) -> object:
        stream, able = draw.stream(), values or (True,)
        value = stream.choice(able)
        return value if stream.random() < share else type(value)() if otherwise is None else otherwise

    return distribution


def a_storm(share: float, *counts: float) -> Distribution:
    """Draw, in a share of the seeds, one of these counts in the whole storm, as a rate."""
    return lambda draw: in_some(share, *(count / draw.known["storm"] for count in counts))(draw)


def up_to(field: str, share: float) -> Distribution:
    """Draw, in a share of the seeds, a count that is at most another field."""
    return lambda draw: in_some(share, *range(1, draw.known[field] + 1))(draw)


def some_of(kinds: Iterable[str], share: float = 1.0) -> Distribution:
    """Draw each kind with a half chance, in a share of the seeds."""
    return lambda draw: frozenset(kind for kind in kinds if draw.stream().random() < share and draw.stream(kind).random() < 0.5)


def _links(draw: Draw) -> Links:
    pieces, part = (draw.stream(name).choice([0.0, 0.1, 0.5]) for name in ("pieces", "part"))
    return Links(connecting=draw.stream("connecting").choice([(0.0004, 0.008), (0.01, 0.08)]), pieces=pieces, part=part)


@final
@attrs.frozen
class Plan:
    """One world. Rates are per simulated second; fields that are 0, false or empty leave something out."""

    seed: int
    # Seconds of the storm, questions, and how many there are.
    storm: float = _drawn(20.0, one_of(5.0, 20.0, 40.0))
    rate: float = _drawn(50.0, one_of(5.0, 50.0, 150.0))
    users: int = _drawn(20, one_of(1, 2, 5, 20, 60))
    issuers: int = _drawn(2, one_of(1, 2, 3, 6))
    gateways: int = _drawn(2, one_of(1, 2, 4))
    namespaces: int = _drawn(2, one_of(1, 2, 5))
    # The share of requests that meet a fault of their issuer, and the kinds; whether half of the issuers speak HTTP/2; how long
    # their answers take.
    often: float = _drawn(0.05, one_of(0.0, 0.01, 0.05, 0.2))
    faults: frozenset[str] = _drawn(frozenset(FAULTS), some_of((*FAULTS, STALL)))
    http2: bool = _drawn(False, in_some(0.3))
    latency: tuple[float, float] = _drawn((0.004, 0.08), one_of((0.001, 0.01), (0.004, 0.08), (0.05, 0.09)))
    # The first user's requests break the connections of issuers; and nearly all requests are theirs.
    hated: bool = _drawn(False, in_some(0.25))
    insists: bool = _drawn(False, in_some(0.5))
    # Issuers are reached by TLS; over connections that carry one request each.
    tls: bool = _drawn(False, in_some(0.2))
    single_use: bool = _drawn(False, in_some(0.1))
    # Tokens are kept, or only a few of them. Issuers take so many calls at once, with a breaker beside it. Callers' tokens are verified.
    cache: bool = _drawn(False, in_some(0.4))
    crowded: bool = _drawn(False, in_some(0.3))
    permits: int = _drawn(0, in_some(0.4, 2, 8))
    verified: bool = _drawn(False, in_some(0.1))
    # The shares of questions whose callers leave, and after which a gateway hangs up; of failed ones that are asked again.
    leaving: float = _drawn(0.03, one_of(0.0, 0.03, 0.2))
    hanging_up: float = _drawn(0.002, one_of(0.0, 0.002, 0.02))
    retries: float = _drawn(0.0, in_some(0.25, 0.5, 1.0))
    # Gateways that connect by TLS; that speak ext_proc, and how; that speak HTTP/1.1.
    tls_gateways: int = _drawn(0, up_to("gateways", 0.2))
    ext_proc: int = _drawn(0, up_to("gateways", 0.25))
    http_gateways: int = _drawn(0, up_to("gateways", 0.2))
    manners: frozenset[str] = _drawn(frozenset(MANNERS), some_of(MANNERS))
    links: Links = attrs.field(factory=Links, metadata={"distribution": _links})
    # Changes of policy, the share of entries that are wrong; changes of where a denial is, and of which namespaces count; outages of where
    # policies are, and their kinds.
    edits: float = _drawn(0.5, one_of(0.0, 0.5, 3.0))
    slips: float = _drawn(0.0, in_some(0.2, 0.1, 0.3))
    # What entries and requests have beside hosts, plain prefixes and GET.
    grammar: frozenset[str] = _drawn(frozenset(), some_of(GRAMMAR, 0.3))
    # How many ConfigMaps a namespace may have, 0 for any number, and how many KiB in them; how many entries, 0 for any number.
    room: int = _drawn(0, in_some(0.15, 1, 2, 10))
    kib: int = _drawn(4096, one_of(1, 4096))
    quota: int = _drawn(0, in_some(0.15, 1, 2, 3, 4))
    moves: float = _drawn(0.0, in_some(0.5, 0.5, 3.0))
    outages: float = _drawn(0.1, one_of(0.0, 0.05, 0.2))
    cluster_faults: frozenset[str] = _drawn(frozenset(CLUSTER_FAULTS), some_of(CLUSTER_FAULTS))
    # Times a second from which the watch of ConfigMaps delivers late for some seconds, which nothing shows.
    late: float = _drawn(0.0, in_some(0.3, 0.1, 0.5))
    # What the API server says that it should not.
    strange: frozenset[str] = _drawn(frozenset(), some_of(STRANGE, 0.25))
    # SIGTERM in the storm, after which the service starts anew.
    restarts: float = _drawn(0.0, a_storm(0.15, 1.0, 4.0))
    # How many requests come at once, and policies, with the work of each turn counted; 0 without.
    crowds: int = _drawn(0, in_some(0.1, 800))
    # Policies are in a folder instead of a cluster; kubelet writes it.
    folder: bool = _drawn(False, in_some(0.2))
    mounted: bool = _drawn(False, in_some(0.3))
    folder_faults: frozenset[str] = _drawn(frozenset(FOLDER_FAULTS), some_of(FOLDER_FAULTS))
    # Settings of the wall clock. SIGTERM in the middle of the storm.
    jumps: float = _drawn(0.0, in_some(1 / 3, 0.5))
    # How often the name of an issuer is unknown for a while.
    unnamed: float = _drawn(0.0, a_storm(0.15, 1.0, 3.0))
    terminated: bool = _drawn(False, in_some(0.25))
    # Changes of the service's own credentials, whether some are in Secrets, or are keys and certificates, and how files and Secrets are
    # spoiled.
    rotations: float = _drawn(0.0, a_storm(0.2, 4.0, 10.0))
    secrets: bool = _drawn(False, in_some(0.4))
    keys: bool = _drawn(False, in_some(0.6))
    file_faults: frozenset[str] = _drawn(frozenset(FILE_FAULTS), some_of(FILE_FAULTS))
    # Changes of the service's own certificate where gateways connect by TLS, and how its files are damaged.
    certificates: float = _drawn(0.0, a_storm(0.6, 4.0, 10.0))
    certificate_faults: frozenset[str] = _drawn(frozenset(CERTIFICATE_FAULTS), some_of(CERTIFICATE_FAULTS))
    # Changes of the grants file, 0 without one, and how it is unusable meanwhile.
    granted: float = _drawn(0.0, a_storm(0.2, 2.0, 8.0))
    spoiled: frozenset[str] = _drawn(frozenset(SPOILED), some_of(SPOILED))
    # Tokens are kept in a store, too, which the replicas of the service share; the share of commands that meet a fault of the store.
    store: bool = _drawn(False, in_some(0.2))
    replicas: int = _drawn(1, one_of(1, 2))
    store_often: float = _drawn(0.02, one_of(0.0, 0.01, 0.05))
    store_faults: frozenset[str] = _drawn(frozenset(STORE_FAULTS), some_of(STORE_FAULTS))
    # Somebody reads metrics, spans and the console, and so often badly.
    readers: bool = _drawn(False, in_some(0.2))
    badly_read: float = _drawn(0.05, one_of(0.0, 0.05, 0.2))
    reader_faults: frozenset[str] = _drawn(frozenset(READER_FAULTS), some_of(READER_FAULTS))
    # There is an audit log, without whose line no token may be handed out; what happens to its disk.
    audited: bool = _drawn(False, in_some(0.2))
    audit_required: bool = _drawn(False, in_some(0.7))
    disk_faults: frozenset[str] = _drawn(frozenset(DISK_FAULTS), some_of(DISK_FAULTS))
    # Upstreams of gateways with ext_proc do not trust tokens any more that were issued before.
    refusals: float = _drawn(0.0, a_storm(0.15, 2.0, 10.0, 40.0))
    # Issued tokens are compared with what was asked for; the share of those that are wrong, and how.
    proven: bool = _drawn(False, in_some(0.2))
    lying: float = _drawn(0.05, one_of(0.0, 0.05, 0.3))
    lies: frozenset[str] = _drawn(frozenset(LIES), some_of(LIES))
    # Issuers are asked about callers' tokens. Revocations; the share of odd answers, and what is odd.
    introspected: bool = _drawn(False, in_some(0.35))
    revocations: float = _drawn(0.2, a_storm(1.0, 2.0, 10.0))
    oddly: float = _drawn(0.02, one_of(0.0, 0.02, 0.2))
    odd: frozenset[str] = _drawn(frozenset(ODDITIES), some_of(ODDITIES))
    # Callers' tokens end within the storm.
    short_lived: bool = _drawn(False, in_some(0.4))
    # How many issuers take assertions of another one alone, and whether more than once; the share of assertions that are wrong, and how.
    chained: int = _drawn(0, up_to("issuers", 0.35))
    reuse: bool = _drawn(False, in_some(0.3))
    falsely: float = _drawn(0.02, one_of(0.0, 0.02, 0.2))
    falsehoods: frozenset[str] = _drawn(frozenset(FALSEHOODS), some_of(FALSEHOODS))

    @property
    def longest_call(self) -> float:
        """The seconds that an exchange may take although all is well, with the questions before it, connections, and the way to and fro."""
        calls = 1 + self.introspected + self.verified + bool(self.chained)
        return calls * (self.links.connecting[1] + self.latency[1] + WAYS * self.links.delay[1])

    @classmethod
    def drawn(cls, seed: int, **fixed: object) -> "Plan":
        """Return the world of ``seed``, with some of it ``fixed``."""
        known: dict[str, Any] = {}
        for field in attrs.fields(cls):
            if "distribution" in field.metadata:
                known[field.name] = field.metadata["distribution"](Draw(seed, field.name, known))
        return cls(seed, **{**_agreeing({**known, **fixed}), **fixed})

    def _with(self, name: str, value: object) -> "Plan":
        changed: dict[str, Any] = {name: value}
        return attrs.evolve(self, **changed)

    def smaller(self) -> Iterator["Plan"]:
        """Yield plans with less in them, those that leave out most first."""
        for name, least in _LEAST.items():
            now = getattr(self, name)
            for less in (least, (now + least) / 2 if isinstance(least, float) else (now + least) // 2):
                if least <= less < now:
                    yield self._with(name, less)
        fields: dict[str, object] = attrs.asdict(self, recurse=False)
        for name, now in fields.items():
            if isinstance(now, bool | int | float) and now and name not in {"seed", *_LEAST}:
                yield self._with(name, type(now)())
        if self.links != Links(pieces=0.0, part=0.0):
            yield attrs.evolve(self, links=Links(pieces=0.0, part=0.0))
        for name, some in fields.items():
            kinds = sorted(some) if isinstance(some, frozenset) else []
            if len(kinds) > 1:
                yield self._with(name, frozenset(kinds[: len(kinds) // 2]))
                yield self._with(name, frozenset(kinds[len(kinds) // 2 :]))
            for kind in kinds:
                yield self._with(name, frozenset(kinds) - {kind})


# What does not go together, in this order: where a plan has the first, or has it not, it is left without the others.
_APART: Final = (
    ("verified", "hated http2 moves terminated replicas introspected chained"),  # keys come and go within minutes
    ("readers", "crowds restarts"),  # the console ends a turn by time, which no work takes here; and counters begin anew
    # Documents of a crowd are read late, and a denial that moves again meanwhile may be missing; and all of a crowd is to be active. Each
    # request of it would have a connection over HTTP.
    ("crowds", "moves room quota refusals http_gateways grammar introspected chained"),
    ("store", "tls_gateways"),
    ("not store", "replicas"),
    ("folder", "replicas room secrets late"),  # what is beyond the limits of a folder is read at once, and it has no watch
    ("replicas", "restarts refusals http_gateways"),  # one process has one signal, and one port of HTTP; each replica has tokens of its own
    # Tokens and clients of another kind.
    ("rotations", "introspected chained"),
    ("proven", "introspected chained"),
    ("refusals", "introspected chained"),
    ("introspected", "chained hated"),
    ("chained", "hated"),
    ("not hated", "insists"),
    ("not rotations", "keys secrets"),
    ("not tls_gateways", "certificates"),
    ("not moves", "late"),
    ("room", "late grammar"),  # which ConfigMaps have room depends on each that is late
    # What these leave of a document is known for plain entries.
    ("quota", "grammar"),
    ("granted", "grammar"),
)


def _agreeing(known: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a plan without what does not go together."""
    if known["gateways"] == 1:
        known["replicas"] = 1
    if known["users"] == 1:  # otherwise nobody gets an answer
        known["hated"] = False
    for condition, names in _APART:
        name = condition.removeprefix("not ")
        if (known[name] > _LEAST.get(name, 0) if not isinstance(known[name], frozenset) else bool(known[name])) == (name == condition):
            known |= {other: _LEAST.get(other, type(known[other])()) for other in names.split()}
    if known["verified"]:
        known |= {"storm": 1200.0, "rate": 1.0, "edits": 0.01, "outages": 0.002}
        known |= {name: known[name] / 10 for name in ("jumps", "unnamed")}
    if known["crowds"]:
        known |= {"storm": min(known["storm"], 5.0), "rate": min(known["rate"], 5.0)}
    if known["jumps"]:  # the ends of what a store gives again, and of callers' tokens, are by the wall clock
        known["store_faults"] -= TIME_LIES
        known["short_lived"] = False
    known["cache"] = bool(known["cache"] or known["store"] or known["refusals"])
    if known["refusals"]:  # seen by what is kept, behind ext_proc
        known["ext_proc"] = max(1, known["ext_proc"])
    if known["refusals"] or known["replicas"] > 1:  # a token without a lifetime is not kept
        known["faults"] -= {"no lifetime"}
    if not known["ext_proc"]:  # others have deadlines of their own
        known["faults"] -= {STALL}
    return known


def shrunk(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """Return a plan that fails as ``plan`` does, and of which nothing can be left out."""
    while (smaller := next((less for less in plan.smaller() if fails(less)), None)) is not None:
        plan = smaller
    return plan
