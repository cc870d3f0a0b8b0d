"""From one set of issuers to the next: which credentials are new, and which old ones may still be tried for a while. Pure.

Must not know: where issuers come from, or any clock (times are handed in).
"""

from typing import Final, final

import attrs
from rpds import HashTrieMap

from exchanger.values.issuer import Credentials, Issuer

ROTATION_GRACE_S: Final = 600.0
"""Seconds after a rotation for which the credentials before are still tried where the new ones are refused. An authorization server
that takes the new ones later than this service does so within minutes: its own replicas, or the next step of whoever rotates by hand. A
mounted Secret alone takes up to two to arrive (https://kubernetes.io/docs/concepts/configuration/secret/#mounted-secrets-are-updated-automatically).
It is short enough that credentials which were withdrawn are out of memory and off the wire soon."""


@final
@attrs.frozen
class IssuerSet:
    """Issuers by name, as they are in force together.

    ``generation`` is the newest one of any credentials so far, removed ones included, so that no two credentials of a name share one.
    ``retiring`` says for each issuer with previous credentials when (seconds of one clock) these are dropped.
    """

    issuers: "HashTrieMap[str, Issuer]"
    generation: int = 0
    retiring: "HashTrieMap[str, float]" = attrs.field(factory=HashTrieMap)

    def succeeded_by(self, issuers: "HashTrieMap[str, Issuer]", now: float) -> "IssuerSet":
        """Return the set that follows with ``issuers``, whose generations do not count yet; equal to this one when nothing has changed."""
        following, newest = self.generation + 1, self.generation
        merged: dict[str, Issuer] = {}
        retiring: dict[str, float] = {}
        for name, issuer in issuers.items():
            before = self.issuers.get(name)
            # Credentials are for the endpoint that they were given for: another one must never see them.
            moved = before is None or before.token_endpoint != issuer.token_endpoint
            if before is None or not _same(before.credentials, issuer.credentials):
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
        """Return the set without previous credentials whose time is over; itself when there are none."""
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


def _same(one: Credentials, other: Credentials) -> bool:
    return (one.client_id, one.client_secret) == (other.client_id, other.client_secret)
