"""The active issuers after each new version of the file or of a Secret. Pure.

Must not know: tasks, files, clocks (times are arguments), how Secrets are read, or who is told of changes.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final, final

import attrs
from rpds import HashTrieMap

from exchanger.exchange.issuers.profile_model import Plan
from exchanger.exchange.issuers.resolve import problem_of, resolve
from exchanger.exchange.issuers.secrets import SecretData, SecretProblem
from exchanger.exchange.issuers.value_sources import Reference, ValueSource
from exchanger.model.issuer import Assertion, ClientProof, Credentials, Issuer, in_chain

# Seconds after a rotation for which the previous credentials are still tried if the new ones are refused. An authorization server that
# adopts the new ones later than this service does so within minutes: its replicas, or the next step of a manual rotation. A mounted Secret
# alone takes up to two (https://kubernetes.io/docs/concepts/configuration/secret/#mounted-secrets-are-updated-automatically).
# It is short enough that removed credentials are soon out of memory and off the wire.
ROTATION_GRACE_S: Final = 600.0


def linked(issuers: "HashTrieMap[str, Issuer]") -> "HashTrieMap[str, Issuer]":
    """Return ``issuers``, in which each chain has its first issuer as it is active now: with the credentials of the last rotation."""
    found = issuers
    for name, issuer in issuers.items():
        if issuer.assertion is not None:
            found = found.insert(name, in_chain(issuer, issuer.assertion, issuers[issuer.assertion.profile]))
    return found


@final
@attrs.frozen
class IssuerSet:
    """Issuers by name, active together.

    ``generation`` is the newest of any credentials so far, including removed ones, so that no two credentials of a name share one.
    ``retiring`` has the time (seconds of one clock) at which each issuer's previous credentials are dropped.
    """

    issuers: "HashTrieMap[str, Issuer]" = attrs.field(converter=linked)
    generation: int = 0
    retiring: "HashTrieMap[str, float]" = attrs.field(factory=HashTrieMap)

    def succeeded_by(self, issuers: "HashTrieMap[str, Issuer]", now: float) -> "IssuerSet":
        """Return the next set, with ``issuers``, whose generations are ignored; equal to this one if nothing has changed."""
        following, newest = self.generation + 1, self.generation
        merged: dict[str, Issuer] = {}
        retiring: dict[str, float] = {}
        for name, issuer in issuers.items():
            before = self.issuers.get(name)
            # Credentials belong to their endpoint: another one must never see them.
            moved = before is None or (before.token_endpoint, before.discovery) != (issuer.token_endpoint, issuer.discovery)
            if before is None or _pair(before.credentials) != _pair(issuer.credentials):
                newest = following
                credentials = attrs.evolve(issuer.credentials, generation=following)
                previous, until = None if before is None else before.credentials, now + ROTATION_GRACE_S
            else:
                credentials, previous, until = before.credentials, before.previous, self.retiring.get(name, now)
            if moved:
                previous = None
            merged[name] = attrs.evolve(issuer, credentials=credentials, previous=previous)
            if previous is not None:
                retiring[name] = until
        return IssuerSet(HashTrieMap(merged), newest, HashTrieMap(retiring))

    def without_retired(self, now: float) -> "IssuerSet":
        """Return the set without previous credentials whose time is up, the set itself if it has none."""
        over = [name for name, until in self.retiring.items() if until <= now]
        issuers, retiring = self.issuers, self.retiring
        for name in over:
            issuers = issuers.insert(name, attrs.evolve(issuers[name], previous=None))
            retiring = retiring.remove(name)
        return IssuerSet(issuers, self.generation, retiring) if over else self

    def rotated_since(self, before: "IssuerSet") -> tuple[str, ...]:
        """Return the names of the issuers that ``before`` had with other credentials."""
        return tuple(
            sorted(
                name
                for name, issuer in self.issuers.items()
                if (old := before.issuers.get(name)) is not None
                and old.credentials != issuer.credentials
                and not _is_renewed(old.credentials, issuer.credentials)
            )
        )


@final
@attrs.frozen
class State:
    """``current`` is the active set, made from ``plan``; ``pending`` is a newer version of the file that still lacks a value.

    ``latest`` has the last reading of each place that is needed, ``kept`` the version that ``current`` was made from, an older one
    if the latest is unusable.
    """

    current: IssuerSet | None = None
    plan: Plan | None = None
    pending: Plan | None = None
    latest: "HashTrieMap[ValueSource, SecretData | SecretProblem]" = attrs.field(factory=HashTrieMap)
    kept: "HashTrieMap[ValueSource, SecretData | SecretProblem]" = attrs.field(factory=HashTrieMap)

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The versions of the file that apply, the newest first."""
        return tuple(plan for plan in (self.pending, self.plan) if plan is not None)

    @property
    def places(self) -> frozenset[ValueSource]:
        """The Secrets and files that are needed."""
        return frozenset(place for plan in self.plans for place in plan.places)

    @property
    def issues(self) -> "HashTrieMap[str, str]":
        """The current problems with Secrets and files: reasons by place."""
        return HashTrieMap({issue.place: issue.reason for plan in reversed(self.plans) for issue in resolve(plan, self.latest).issues})

    def with_file(self, plan: Plan, now: float) -> "State":
        """Return the state after a valid version of the file, which takes effect as a whole when all of its values are known."""
        return attrs.evolve(self, pending=plan)._settled(now)  # noqa: SLF001 - of this class

    def with_place(self, place: ValueSource, found: SecretData | SecretProblem, now: float) -> "State":
        """Return the state after ``found`` was read at ``place``; the state itself if that is no longer needed."""
        if place not in self.places:
            return self
        return attrs.evolve(self, latest=self.latest.insert(place, found))._settled(now)  # noqa: SLF001 - of this class

    def without_retired(self, now: float) -> "State":
        """Return this without previous credentials whose time is up."""
        if self.current is None:
            return self
        current = self.current.without_retired(now)
        return self if current is self.current else attrs.evolve(self, current=current)

    def _settled(self, now: float) -> "State":
        """Activate the newest version of the file with all of its values, and forget what is no longer needed."""
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
        needed = state.places
        return attrs.evolve(state, latest=HashTrieMap({place: found for place, found in state.latest.items() if place in needed}))

    def _chosen(self, plan: Plan) -> Iterator[tuple[ValueSource, SecretData | SecretProblem]]:
        """Choose the latest version of each place if ``plan`` can use it, otherwise the last good one.

        Versions are used as a whole: the id of one and the secret of another do not belong together.
        """
        asked: dict[ValueSource, list[Reference]] = {}
        for reference in chain.from_iterable(plan.needed):
            asked.setdefault(reference.place, []).append(reference)
        for place, wanted in asked.items():
            for found in (self.latest.get(place), self.kept.get(place)):
                if isinstance(found, SecretData) and all(problem_of(reference, found) is None for reference in wanted):
                    yield place, found
                    break


def _pair(credentials: Credentials) -> tuple[str, ClientProof]:
    return credentials.client_id, credentials.proof


def _is_renewed(old: Credentials, new: Credentials) -> bool:
    """Return whether only the assertion is a newer one, as happens every few minutes."""
    match old.proof, new.proof:
        case Assertion() as before, Assertion() as after:
            return attrs.evolve(before, text=after.text) == after and old.client_id == new.client_id
        case _:
            return False
