"""The platform team's grants: a file that changes, and is spoiled on the way, and what each version of it leaves of a document."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import attrs

from exchanger.model.entry import BASELINE, EVERYWHERE, DenyEntry
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import NamespaceGrant
from tests.property import policy_model as model
from tests.property.grants_model import GrantsModel
from tests.simulation.grammar import MOVING_HOST, PATHS
from tests.simulation.part import Every, Part

if TYPE_CHECKING:
    from tests.simulation.world import World

# Seconds from a new version of the file until it is active at the latest: two reads, and the documents that are checked against it.
_PROMPT: Final = 3.0
# Where prefixes may be; a path below and beside each, which nobody asks for, tells areas apart.
_PREFIXES: Final = ("", "/a", "/a/b", "/c")
_BESIDE: Final = ("/", "/ab", "/a/bc", "/a/b/c", "/cd", "/c/e", "/c/de", "/c/d/e")
SPOILED: Final = ("in pieces", "broken", "empty", "deleted")


@final
@attrs.frozen
class Version:
    """All grants from a time on (seconds), and what the baseline denies: hosts, and prefixes there."""

    grants: tuple[NamespaceGrant, ...]
    baseline: tuple[tuple[str, str], ...]
    since: float = 0.0


@final
@attrs.define(eq=False)
class PlatformTeam(Part):
    """Writes the grants of all namespaces into the file at ``path``. ``versions`` are those that were written."""

    needs = "granted"
    versions: list[Version] = attrs.field(factory=list, init=False)
    _places: GrantsModel = attrs.field(init=False)
    _busy: float = attrs.field(default=0.0, init=False)
    _left: dict[tuple[int, PolicyDocument], list[model.Part]] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.world.authors.grants = self
        self._places = GrantsModel((*self.world.authors.hosts, "unheard-of.example.com", "unheard.of"), (*PATHS, *_BESIDE))

    @property
    def path(self) -> Path:
        return self.world.folder / "grants.json"

    def environment(self) -> dict[str, str]:
        self._write(self._drawn())
        return {"POLICY_GRANTS_FILE": str(self.path)}

    def storm(self, every: Every) -> None:
        every(self.plan.granted, self._change, "changes of grants")

    def _change(self) -> None:
        """Write another version, sometimes by way of a file that nobody can use. The one before is active first."""
        now, chance = self.kernel.now, self.chance
        if now < self._busy:
            return
        fault, wait, version = chance.choice(["", *sorted(self.plan.spoiled)]), chance.choice([0.1, 1.0, 3.0]), self._drawn()
        self._busy = now + (wait if fault else 0.0) + _PROMPT
        if fault == "deleted":
            self.path.unlink()
        elif fault:
            text = _text(version)
            self.path.write_text({"in pieces": text[: len(text) // 2], "broken": "grants: everything", "empty": ""}[fault])
        if fault:
            self.kernel.tell("the platform team", "spoils the grants", fault)
            self.kernel.after(wait, self._write, version)
        else:
            self._write(version)

    def _write(self, version: Version) -> None:
        self.path.write_text(_text(version))
        self.kernel.tell("the platform team", "grants", _text(version))
        self.versions.append(attrs.evolve(version, since=self.kernel.now))

    def _drawn(self) -> Version:
        """Draw for each namespace all, some or nothing of its own host, and sometimes of another."""
        chance, found = self.chance, list[NamespaceGrant]()
        for name in self.world.authors.names:
            own = f"{name}.example.com"
            for hosts in [(own,)] * chance.choice([0, 1, 1, 1, 2]) + [(chance.choice(self.world.authors.hosts),)] * (chance.random() < 0.1):
                found.append(
                    NamespaceGrant(
                        frozenset({name}),
                        None,
                        hosts if chance.random() < 0.9 else ("*.example.com",),
                        tuple(sorted({chance.choice(_PREFIXES) for _ in range(2)})) if chance.random() < 0.5 else ("",),
                        frozenset(chance.choice([("exchange", "deny"), ("exchange", "deny"), ("exchange",), ("deny",)])),
                        chance.choice([("*",), ("*",), ("issuer-0",)]),
                        chance.choice([("*",), ("*",), ("x",)]),
                        scopes=chance.choice([("*",), ("*",), ("read",)]),
                    )
                )
            found.append(NamespaceGrant(frozenset({name}), None, (MOVING_HOST,)))
        denials, named = self.kernel.stream("baseline"), [*self.world.authors.hosts, "*.example.com"]
        count = denials.choice([0, 0, 1, 2])
        return Version(tuple(found), tuple((denials.choice(named), denials.choice(PATHS)) for _ in range(count)))

    # What the model says.

    def active(self, asked: float, answered: float) -> Iterator[int]:
        """Yield the numbers of the versions that may have been active between two times."""
        for number in range(len(self.versions) - 1, -1, -1):
            since = self.versions[number].since
            if since <= answered:
                yield number
            if since <= asked - _PROMPT:
                return

    def denial(self, number: int, host: str, path: str) -> DenyEntry | None:
        """Return what the baseline of a version denies a path by, if it does."""
        for index, (named, prefix) in enumerate(self.versions[number].baseline):
            if host.endswith(named.removeprefix("*")) and (path + "/").startswith(prefix + "/"):
                return DenyEntry(BASELINE, index, EVERYWHERE)
        return None

    def left(self, number: int, document: PolicyDocument) -> list[model.Part]:
        """Return what a version leaves of ``document``."""
        key = number, document
        if key not in self._left:
            self._left[key] = self._places.left(document, self.versions[number].grants)
        return self._left[key]


@final
@attrs.define(eq=False)
class EverythingGranted(Part):
    """A grants file that never changes, where policies have ``action: allow``, which must be granted by name."""

    @classmethod
    def of(cls, world: "World", /) -> "EverythingGranted | None":
        return cls(world) if "allow" in world.plan.grammar else None

    def environment(self) -> dict[str, str]:
        actions, anything = frozenset({"exchange", "deny", "allow"}), ("*",)
        grant = NamespaceGrant(frozenset(self.world.authors.names), None, anything, ("",), actions, anything, anything, scopes=anything)
        path = self.world.folder / "everything.json"
        path.write_text(_text(Version((grant,), ())))
        return {"POLICY_GRANTS_FILE": str(path)}


def _text(version: Version) -> str:
    def written(grant: NamespaceGrant) -> dict[str, Any]:
        return {
            "namespaces": sorted(grant.namespaces or ()),
            "hosts": grant.hosts,
            "pathPrefixes": [prefix or "/" for prefix in grant.path_prefixes],
            "actions": sorted(grant.actions),
            "issuers": grant.issuers,
            "audiences": grant.audiences,
            "scopes": grant.scopes,
        }

    denials = [{"match": {"host": host, "pathPrefix": prefix}, "action": "deny"} for host, prefix in version.baseline]
    grants = {"version": "v1", "grants": [written(grant) for grant in version.grants]}
    return json.dumps(grants | ({"baseline": denials} if denials else {}))
