"""What is in force, what waits, and what is known of Secrets; and what a new version of the file or of a Secret makes of it. Pure.

Must not know: tasks, files, clocks (times are handed in), or who is told.
"""

from collections.abc import Iterator
from typing import final

import attrs
from rpds import HashTrieMap

from exchanger.issuers.generations import IssuerSet
from exchanger.issuers.plan import Plan
from exchanger.issuers.resolve import Trouble, resolve
from exchanger.issuers.secrets import SecretData, SecretName, SecretProblem


@final
@attrs.frozen
class State:
    """``current`` is the set in force, made from ``plan``; ``pending`` is a newer version of the file that still lacks a Secret.

    ``latest`` has what was last found of each Secret that is needed, ``kept`` the version of it that ``current`` was made from: that is an
    older one when the latest cannot be used.
    """

    current: IssuerSet | None = None
    plan: Plan | None = None
    pending: Plan | None = None
    latest: "HashTrieMap[SecretName, SecretData | SecretProblem]" = attrs.field(factory=HashTrieMap)
    kept: "HashTrieMap[SecretName, SecretData | SecretProblem]" = attrs.field(factory=HashTrieMap)

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The versions of the file that count, the newest first."""
        return tuple(plan for plan in (self.pending, self.plan) if plan is not None)

    @property
    def secrets(self) -> frozenset[SecretName]:
        """The Secrets that are needed."""
        return frozenset(secret for plan in self.plans for secret in plan.secrets)

    @property
    def troubles(self) -> "HashTrieMap[str, str]":
        """What is wrong with Secrets at present: the reason by place."""
        return HashTrieMap({trouble.place: trouble.reason for trouble in self._troubles()})

    def with_file(self, plan: Plan, now: float) -> "State":
        """Return what follows from a good version of the file; it counts as a whole, when all of its Secrets are there."""
        return attrs.evolve(self, pending=plan)._settled(now)  # noqa: SLF001 - of this class

    def with_secret(self, secret: SecretName, found: SecretData | SecretProblem, now: float) -> "State":
        """Return what follows from what was ``found`` of ``secret``; nothing when it is not needed any more."""
        if secret not in self.secrets:
            return self
        return attrs.evolve(self, latest=self.latest.insert(secret, found))._settled(now)  # noqa: SLF001 - of this class

    def without_retired(self, now: float) -> "State":
        """Return this without previous credentials whose time is over."""
        if self.current is None:
            return self
        current = self.current.without_retired(now)
        return self if current is self.current else attrs.evolve(self, current=current)

    def _settled(self, now: float) -> "State":
        """Put the newest version of the file in force for which every Secret is there, and forget what is not needed then."""
        state = self
        for plan in self.plans:
            chosen = HashTrieMap(self._chosen(plan))
            resolved = resolve(plan, chosen)
            if resolved.complete:
                before = self.current
                current = IssuerSet(resolved.issuers) if before is None else before.succeeded_by(resolved.issuers, now)
                pending = None if plan is self.pending else self.pending
                state = attrs.evolve(self, current=current, plan=plan, pending=pending, kept=chosen)
                break
        needed = state.secrets
        return attrs.evolve(state, latest=HashTrieMap({secret: found for secret, found in state.latest.items() if secret in needed}))

    def _chosen(self, plan: Plan) -> Iterator[tuple[SecretName, SecretData | SecretProblem]]:
        """Choose of each Secret the latest version if ``plan`` can use it, else the one that was good before.

        Versions are taken whole: an id of one and a secret of another do not belong together.
        """
        keys_of: dict[SecretName, set[str]] = {}
        for draft in plan.drafts:
            for reference in draft.references:
                keys_of.setdefault(reference.secret, set()).add(reference.key)
        for secret, keys in keys_of.items():
            for found in (self.latest.get(secret), self.kept.get(secret)):
                if isinstance(found, SecretData) and all(found.has(key) for key in keys):
                    yield secret, found
                    break

    def _troubles(self) -> Iterator[Trouble]:
        for plan in reversed(self.plans):
            yield from resolve(plan, self.latest).problems
