"""The issuers in force: what a new version of the file or of a Secret makes of them. Pure.

Must not know: tasks, files, clocks (times are handed in), how Secrets are read, or who learns of changes.
"""

from collections.abc import Iterator
from typing import Final, assert_never, final

import attrs
from rpds import HashTrieMap

from exchanger.issuers.plan import Plan, SecretKey, UnresolvedProfile
from exchanger.issuers.secrets import SecretData, SecretName, SecretProblem
from exchanger.values.issuer import ClientProof, Credentials, Issuer
from exchanger.values.secret import Secret

# Seconds after a rotation for which the credentials before are still tried where the new ones are refused. An authorization server that
# takes the new ones later than this service does so within minutes: its own replicas, or the next step of whoever rotates by hand. A
# mounted Secret alone takes up to two to arrive (https://kubernetes.io/docs/concepts/configuration/secret/#mounted-secrets-are-updated-automatically).
# It is short enough that credentials which were withdrawn are out of memory and off the wire soon.
ROTATION_GRACE_S: Final = 600.0


@final
@attrs.frozen
class IssuerSet:
    """Issuers by name, in force together.

    ``generation`` is the newest of any credentials so far, including removed ones, so that no two credentials of a name share one.
    ``retiring`` has the time (seconds of one clock) at which each issuer's previous credentials are dropped.
    """

    issuers: "HashTrieMap[str, Issuer]"
    generation: int = 0
    retiring: "HashTrieMap[str, float]" = attrs.field(factory=HashTrieMap)

    def succeeded_by(self, issuers: "HashTrieMap[str, Issuer]", now: float) -> "IssuerSet":
        """Return the set that follows with ``issuers``, whose generations do not count yet; equal to this one if nothing has changed."""
        following, newest = self.generation + 1, self.generation
        merged: dict[str, Issuer] = {}
        retiring: dict[str, float] = {}
        for name, issuer in issuers.items():
            before = self.issuers.get(name)
            # Credentials belong to their endpoint: another one must never see them.
            moved = before is None or before.token_endpoint != issuer.token_endpoint
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
        """Return the set without previous credentials whose time is over, itself if it has none."""
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
                if (old := before.issuers.get(name)) is not None and old.credentials != issuer.credentials
            )
        )


@final
@attrs.frozen
class SecretIssue:
    """Why one field has no value. ``place`` names profile, field, Secret and key; never a value."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@final
@attrs.frozen
class Resolved:
    """The issuers whose credentials are known, and why others are missing. ``complete``: none is missing."""

    issuers: "HashTrieMap[str, Issuer]"
    issues: tuple[SecretIssue, ...]
    complete: bool


def resolve(plan: Plan, secrets: "HashTrieMap[SecretName, SecretData | SecretProblem]") -> Resolved:
    """Return the issuers of ``plan`` with the values in ``secrets``.

    A Secret that is missing there was not read yet: its profile is left out, and that is not an issue.
    """
    issuers: dict[str, Issuer] = {}
    issues: list[SecretIssue] = []
    for profile in plan.profiles:
        client_id = _value(profile.client_id, secrets)
        client_secret = _value(profile.client_secret, secrets)
        for part, value in ((profile.client_id, client_id), (profile.client_secret, client_secret)):
            if isinstance(part, SecretKey) and isinstance(value, str):
                place = f'issuer profile "{profile.name}" {part.field}, Secret {part.secret} key {part.key}'
                issues.append(SecretIssue(place, value))
        if isinstance(client_id, Secret) and isinstance(client_secret, Secret):
            issuers[profile.name] = _issuer(profile, Credentials(client_id.reveal(), client_secret))
    return Resolved(HashTrieMap(issuers), tuple(issues), complete=len(issuers) == len(plan.profiles))


def _value(part: str | Secret | SecretKey, secrets: "HashTrieMap[SecretName, SecretData | SecretProblem]") -> Secret | str | None:
    """Return the value, or why there is none, or ``None`` if its Secret was not read yet."""
    match part:
        case str():
            return Secret(part)
        case Secret():
            return part
        case SecretKey():
            return _looked_up(part.key, secrets.get(part.secret))
        case _:
            assert_never(part)


def _looked_up(key: str, found: SecretData | SecretProblem | None) -> Secret | str | None:
    match found:
        case None:
            return None
        case SecretProblem():
            return found.text
        case SecretData():
            value = found.values.get(key)
            if value is None:
                return "its value is no text in UTF-8" if key in found.undecodable else "there is no such key"
            return value if value.reveal() else "its value is empty"
        case _:
            assert_never(found)


def _issuer(profile: UnresolvedProfile, credentials: Credentials) -> Issuer:
    return Issuer(
        name=profile.name,
        token_endpoint=profile.token_endpoint,
        endpoint_host=profile.endpoint_host,
        auth_method=profile.auth_method,
        credentials=credentials,
        bearer_realm=profile.bearer_realm,
        proxy=profile.proxy,
        protocol=profile.protocol,
        cache=profile.cache,
        limits=profile.limits,
    )


@final
@attrs.frozen
class State:
    """``current`` is the set in force, made from ``plan``; ``pending`` is a newer version of the file that still lacks a Secret.

    ``latest`` has the last reading of each Secret that is needed, ``kept`` the version that ``current`` was made from, an older one
    if the latest is unusable.
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
    def issues(self) -> "HashTrieMap[str, str]":
        """What is wrong with Secrets at present: reasons by place."""
        return HashTrieMap({issue.place: issue.reason for issue in self._found_issues()})

    def with_file(self, plan: Plan, now: float) -> "State":
        """Return the state after a valid version of the file, which takes effect as a whole when all of its Secrets are there."""
        return attrs.evolve(self, pending=plan)._settled(now)  # noqa: SLF001 - of this class

    def with_secret(self, secret: SecretName, found: SecretData | SecretProblem, now: float) -> "State":
        """Return the state after ``secret`` was ``found`` so; itself if the Secret is not needed any more."""
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
        """Put the newest version of the file with all of its Secrets in force, and forget what is no longer needed."""
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
        """Choose the latest version of each Secret if ``plan`` can use it, else the last good one.

        Versions are taken whole: the id of one and the secret of another do not belong together.
        """
        keys_of: dict[SecretName, set[str]] = {}
        for profile in plan.profiles:
            for reference in profile.references:
                keys_of.setdefault(reference.secret, set()).add(reference.key)
        for secret, keys in keys_of.items():
            for found in (self.latest.get(secret), self.kept.get(secret)):
                if isinstance(found, SecretData) and all(found.has(key) for key in keys):
                    yield secret, found
                    break

    def _found_issues(self) -> Iterator[SecretIssue]:
        for plan in reversed(self.plans):
            yield from resolve(plan, self.latest).issues


def _pair(credentials: Credentials) -> tuple[str, ClientProof]:
    return credentials.client_id, credentials.proof
