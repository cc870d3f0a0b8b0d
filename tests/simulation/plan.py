"""What a seed has: how many of whom, and which faults. Each kind of fault is off in about half of the seeds (swarm testing)."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final, final

import attrs

from tests.simulation.audit import DISK_FAULTS
from tests.simulation.certificates import CERTIFICATE_FAULTS
from tests.simulation.chain import FALSEHOODS
from tests.simulation.cluster import CLUSTER_FAULTS
from tests.simulation.doors import MANNERS
from tests.simulation.folder import FOLDER_FAULTS
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


# What is in some of the worlds, and in how many.
_RARE: Final = {"single_use": 0.1, "insists": 0.5}
_OVER_HTTP: Final = 0.2
# Ways of a call: two for TLS, the request, its answer, and the gateway's question and its answer.
_WAYS: Final = 6


@final
@attrs.frozen
class Plan:
    """One world. Rates are per simulated second; fields that are 0, false or empty leave something out."""

    seed: int
    # Seconds of the storm, questions, and how many there are.
    storm: float = 20.0
    rate: float = 50.0
    users: int = 20
    issuers: int = 2
    gateways: int = 2
    namespaces: int = 2
    # The share of requests that meet a fault of their issuer, and the kinds; whether half of the issuers speak HTTP/2; how long
    # their answers take.
    often: float = 0.05
    faults: frozenset[str] = frozenset(FAULTS)
    http2: bool = False
    latency: tuple[float, float] = (0.004, 0.08)
    # The first user's requests break the connections of issuers; and nearly all requests are theirs.
    hated: bool = False
    insists: bool = False
    # Issuers are reached by TLS; over connections that carry one request each.
    tls: bool = False
    single_use: bool = False
    # Tokens are kept, or only a few of them. Issuers take so many calls at once, with a breaker beside it. Callers' tokens are verified.
    cache: bool = False
    crowded: bool = False
    permits: int = 0
    verified: bool = False
    # The shares of questions whose callers leave, and after which a gateway hangs up; of failed ones that are asked again.
    leaving: float = 0.03
    hanging_up: float = 0.002
    retries: float = 0.0
    # Gateways that connect by TLS; that speak ext_proc, and how.
    tls_gateways: int = 0
    ext_proc: int = 0
    http_gateways: int = 0
    manners: frozenset[str] = frozenset(MANNERS)
    links: Links = attrs.field(factory=Links)
    # Changes of policy, the share of entries that are wrong; changes of where a denial is, and of which namespaces count; outages of where
    # policies are, and their kinds.
    edits: float = 0.5
    slips: float = 0.0
    # How many ConfigMaps a namespace may have, 0 for any number, and how many KiB in them; how many entries, 0 for any number.
    room: int = 0
    kib: int = 4096
    quota: int = 0
    moves: float = 0.0
    outages: float = 0.1
    cluster_faults: frozenset[str] = frozenset(CLUSTER_FAULTS)
    # Times a second from which the watch of ConfigMaps delivers late for some seconds, which nothing shows.
    late: float = 0.0
    # What the API server says that it should not.
    strange: frozenset[str] = frozenset()
    # SIGTERM in the storm, after which the service starts anew.
    restarts: float = 0.0
    # How many requests come at once, and policies, with the work of each turn counted; 0 without.
    crowds: int = 0
    # Policies are in a folder instead of a cluster; kubelet writes it.
    folder: bool = False
    mounted: bool = False
    folder_faults: frozenset[str] = frozenset(FOLDER_FAULTS)
    # Settings of the wall clock. SIGTERM in the middle of the storm.
    jumps: float = 0.0
    terminated: bool = False
    # Changes of the service's own credentials, whether some are in Secrets, or are keys and certificates, and how files and Secrets are
    # spoiled.
    rotations: float = 0.0
    secrets: bool = False
    keys: bool = False
    file_faults: frozenset[str] = frozenset(FILE_FAULTS)
    # Changes of the service's own certificate where gateways connect by TLS, and how its files are damaged.
    certificates: float = 0.0
    certificate_faults: frozenset[str] = frozenset(CERTIFICATE_FAULTS)
    # Changes of the grants file, 0 without one, and how it is unusable meanwhile.
    granted: float = 0.0
    spoiled: frozenset[str] = frozenset(SPOILED)
    # Tokens are kept in a store, too, which the replicas of the service share; the share of commands that meet a fault of the store.
    store: bool = False
    replicas: int = 1
    store_often: float = 0.02
    store_faults: frozenset[str] = frozenset(STORE_FAULTS)
    # Somebody reads metrics, spans and the console, and so often badly.
    readers: bool = False
    badly_read: float = 0.05
    reader_faults: frozenset[str] = frozenset(READER_FAULTS)
    # There is an audit log, without whose line no token may be handed out; what happens to its disk.
    audited: bool = False
    audit_required: bool = False
    disk_faults: frozenset[str] = frozenset(DISK_FAULTS)
    # Upstreams of gateways with ext_proc do not trust tokens any more that were issued before.
    refusals: float = 0.0
    # Issued tokens are compared with what was asked for; the share of those that are wrong, and how.
    proven: bool = False
    lying: float = 0.05
    lies: frozenset[str] = frozenset(LIES)
    # Issuers are asked about callers' tokens. Revocations; the share of odd answers, and what is odd.
    introspected: bool = False
    revocations: float = 0.2
    oddly: float = 0.02
    odd: frozenset[str] = frozenset(ODDITIES)
    # How many issuers take assertions of another one alone, and whether more than once; the share of assertions that are wrong, and how.
    chained: int = 0
    reuse: bool = False
    falsely: float = 0.02
    falsehoods: frozenset[str] = frozenset(FALSEHOODS)

    @property
    def longest_call(self) -> float:
        """The seconds that an exchange may take although all is well, with the questions before it, connections, and the way to and fro."""
        calls = 1 + self.introspected + self.verified + bool(self.chained)
        return calls * (self.links.connecting[1] + self.latency[1] + _WAYS * self.links.delay[1])

    @classmethod
    def drawn(cls, seed: int, **fixed: object) -> "Plan":
        """Return the world of ``seed``, with some of it ``fixed``."""
        chance = Random(f"{seed} plan")

        def some(kinds: tuple[str, ...]) -> frozenset[str]:
            return frozenset(kind for kind in kinds if chance.random() < 0.5)

        drawn: dict[str, Any] = {
            "storm": chance.choice([5.0, 20.0, 40.0]),
            "rate": chance.choice([5.0, 50.0, 150.0]),
            "users": chance.choice([1, 2, 5, 20, 60]),
            "issuers": chance.choice([1, 2, 3, 6]),
            "http2": chance.random() < 0.3,
            "gateways": chance.choice([1, 2, 4]),
            "namespaces": chance.choice([1, 2, 5]),
            "faults": some(FAULTS),
            "cluster_faults": some(CLUSTER_FAULTS),
            "often": chance.choice([0.0, 0.01, 0.05, 0.2]),
            "leaving": chance.choice([0.0, 0.03, 0.2]),
            "hanging_up": chance.choice([0.0, 0.002, 0.02]),
            "links": Links(
                connecting=chance.choice([(0.0004, 0.008), (0.01, 0.08)]),
                pieces=chance.choice([0.0, 0.1, 0.5]),
                part=chance.choice([0.0, 0.1, 0.5]),
            ),
            "latency": chance.choice([(0.001, 0.01), (0.004, 0.08), (0.05, 0.09)]),
            "cache": chance.random() < 0.4,
            "permits": chance.choice([0, 0, 0, 2, 8]),
            "edits": chance.choice([0.0, 0.5, 3.0]),
            "outages": chance.choice([0.0, 0.05, 0.2]),
            "jumps": chance.choice([0.0, 0.0, 0.5]),
            "terminated": chance.random() < 0.25,
            "hated": chance.random() < 0.25,
            "tls": chance.random() < 0.2,
        }
        if chance.random() < 0.15:  # keys come and go within minutes
            drawn |= {"verified": True, "hated": False, "http2": False, "storm": 1200.0, "rate": 1.0}
            drawn |= {"edits": 0.01, "outages": 0.002, "jumps": drawn["jumps"] / 10}
        drawn["moves"] = Random(f"{seed} moves").choice([0.0, 0.0, 0.5, 3.0]) if not drawn.get("verified") else 0.0
        chance_of_late = Random(f"{seed} late watches")
        drawn["late"] = chance_of_late.choice([0.1, 0.5]) if drawn["moves"] and chance_of_late.random() < 0.3 else 0.0
        drawn |= {name: Random(f"{seed} {name.replace('_', ' ')}").random() < share for name, share in _RARE.items()}
        chance = Random(f"{seed} files")
        if chance.random() < 0.2:
            drawn |= {"rotations": chance.choice([4.0, 10.0]) / drawn["storm"], "file_faults": some(FILE_FAULTS)}
        drawn |= _doors(seed, drawn["gateways"])
        chance = Random(f"{seed} folder")
        if chance.random() < 0.2:
            drawn |= {"folder": True, "mounted": chance.random() < 0.3, "folder_faults": some(FOLDER_FAULTS)}
        authority = Random(f"{seed} authority")
        drawn["granted"] = authority.choice([2.0, 8.0]) / drawn["storm"] if authority.random() < 0.2 else 0.0
        drawn["spoiled"] = frozenset(kind for kind in SPOILED if authority.random() < 0.5)
        chance = Random(f"{seed} store")
        drawn |= {"store": chance.random() < 0.2, "store_faults": some(STORE_FAULTS), "replicas": chance.choice([1, 2])}
        drawn["store_often"] = chance.choice([0.0, 0.01, 0.05])
        chance = Random(f"{seed} readers")
        drawn |= {"readers": chance.random() < 0.2, "reader_faults": some(READER_FAULTS)}
        drawn["badly_read"] = chance.choice([0.0, 0.05, 0.2])
        drawn["crowded"] = Random(f"{seed} room for few").random() < 0.3
        chance = Random(f"{seed} restarts")
        if chance.random() < 0.15:
            drawn["restarts"] = chance.choice([1.0, 4.0]) / drawn["storm"]
        chance = Random(f"{seed} gateways with TLS")
        drawn["tls_gateways"] = chance.randint(1, drawn["gateways"]) if chance.random() < 0.2 and not drawn["store"] else 0
        chance = Random(f"{seed} strange answers")
        drawn["strange"] = some(STRANGE) if chance.random() < 0.25 else frozenset()
        drawn |= _of_authors(seed)
        chance = Random(f"{seed} certificates")
        drawn["certificates"] = chance.choice([4.0, 10.0]) / drawn["storm"] if chance.random() < 0.6 else 0.0
        drawn["certificate_faults"] = some(CERTIFICATE_FAULTS)
        chance = Random(f"{seed} kinds of credentials")
        drawn |= {"secrets": chance.random() < 0.4, "keys": chance.random() < 0.6}
        chance = Random(f"{seed} crowds")
        if chance.random() < 0.1:
            drawn |= {"crowds": 800, "storm": 5.0, "rate": min(drawn["rate"], 5.0)}
        if drawn["ext_proc"] and Random(f"{seed} stalls").random() < 0.2:  # others have deadlines of their own
            drawn["faults"] |= {STALL}
        chance = Random(f"{seed} audit")
        drawn |= {"audited": chance.random() < 0.2, "audit_required": chance.random() < 0.7, "disk_faults": some(DISK_FAULTS)}
        drawn |= _introspections(Random(f"{seed} introspection"), drawn["storm"]) | _chains(Random(f"{seed} chain"), drawn["issuers"])
        return cls(seed, **_agreeing({**drawn, **_refusing(seed, drawn["storm"]), **_lies(Random(f"{seed} proof")), **fixed}))

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


def _doors(seed: int, gateways: int) -> dict[str, Any]:
    """Draw how gateways ask."""
    doors, http = Random(f"{seed} doors"), Random(f"{seed} HTTP authorization")
    return {
        "manners": frozenset(manner for manner in MANNERS if doors.random() < 0.5),
        "ext_proc": doors.randint(1, gateways) if doors.random() < 0.25 else 0,
        "retries": doors.choice([0.5, 1.0]) if doors.random() < 0.25 else 0.0,
        "http_gateways": http.randint(1, gateways) if http.random() < _OVER_HTTP else 0,
    }


def _refusing(seed: int, storm: float) -> dict[str, Any]:
    chance = Random(f"{seed} responses")
    return {"refusals": chance.choice([2.0, 10.0, 40.0]) / storm} if chance.random() < 0.15 else {"refusals": 0.0}


def _of_authors(seed: int) -> dict[str, Any]:
    """Draw what authors get wrong, and how much they may write."""
    slips, room, quota = Random(f"{seed} slips"), Random(f"{seed} room of namespaces"), Random(f"{seed} quota of namespaces")
    return {
        "quota": quota.randint(1, 4) if quota.random() < 0.15 else 0,
        "slips": slips.choice([0.1, 0.3]) if slips.random() < 0.2 else 0.0,
        "room": room.choice([1, 2, 10]) if room.random() < 0.15 else 0,
        "kib": room.choice([1, 4096]),
    }


def _lies(chance: Random) -> dict[str, Any]:
    """Return whether issued tokens are compared with requests, and which lies there are."""
    drawn = {"proven": chance.random() < 0.2, "lying": chance.choice([0.0, 0.05, 0.3])}
    return {**drawn, "lies": frozenset(lie for lie in LIES if chance.random() < 0.5)}


def _introspections(chance: Random, storm: float) -> dict[str, Any]:
    """Return whether issuers are asked about tokens, which often does not go together with the rest, and what they say."""
    odd = frozenset(one for one in ODDITIES if chance.random() < 0.5)
    drawn = {"introspected": chance.random() < 0.35, "odd": odd, "oddly": chance.choice([0.0, 0.02, 0.2])}
    return {**drawn, "revocations": chance.choice([2.0, 10.0]) / storm}


def _chains(chance: Random, issuers: int) -> dict[str, Any]:
    """Return how many issuers are the second ones of chains, and what the first one says."""
    chained = chance.randint(1, issuers) if chance.random() < 0.35 else 0
    drawn = {"chained": chained, "reuse": chance.random() < 0.3, "falsely": chance.choice([0.0, 0.02, 0.2])}
    return {**drawn, "falsehoods": frozenset(one for one in FALSEHOODS if chance.random() < 0.5)}


def _agreeing(known: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a plan without what does not go together."""
    # A folder has no watch, and which ConfigMaps have room depends on each that is late.
    known["late"] *= not any(known.get(other) for other in ("folder", "room", "crowds"))
    if known["store"]:
        known["cache"] = True
        if known["jumps"]:  # where the wall clock is set, the end of what a store gives again is not known
            known["store_faults"] -= TIME_LIES
    if not known["store"] or known.get("verified") or known.get("folder") or known["gateways"] == 1:
        known["replicas"] = 1
    others = any(
        known.get(other) for other in ("verified", "rotations", "proven", "refusals", "crowds")
    )  # tokens and clients of another kind
    known["introspected"] = known["introspected"] and not others
    known["chained"] = 0 if others or known["introspected"] else known["chained"]
    known["hated"] = known["hated"] and not known["introspected"] and not known["chained"]
    if known["replicas"] > 1 or known["readers"]:
        known["restarts"] = 0.0  # a signal is for the whole process, and counters begin anew
    if known.get("crowds"):
        known["moves"] = 0.0  # documents of a crowd are read late, and a denial that moves again meanwhile may be missing
        known |= {"room": 0, "quota": 0}  # all of a crowd is to be in force
    if known["replicas"] > 1 or known.get("crowds"):
        known["refusals"] = 0.0  # replicas have tokens of their own
    if known["refusals"]:  # seen by what is kept, behind ext_proc
        known |= {"cache": True, "ext_proc": max(1, known["ext_proc"])}
    if known["readers"]:
        known["crowds"] = 0  # the console ends a turn when its time is up, which no work takes here
    known["hated"] = known["hated"] and known["users"] > 1  # otherwise nobody gets an answer
    known["insists"] = known["insists"] and known["hated"]
    if known.get("folder"):
        known["room"] = 0  # what is beyond the limits of a folder is read at once
    known["keys"] = known["keys"] and bool(known.get("rotations"))
    known["secrets"] = known["secrets"] and bool(known.get("rotations")) and not known.get("folder")
    if known["replicas"] > 1 or known.get("crowds"):
        known["http_gateways"] = 0  # their port is the same for all, and each request of a crowd would have a connection
    if not known["tls_gateways"]:
        known["certificates"] = 0.0
    return known


def shrunk(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """Return a plan that fails as ``plan`` does, and of which nothing can be left out."""
    while (smaller := next((less for less in plan.smaller() if fails(less)), None)) is not None:
        plan = smaller
    return plan
