"""The realm's tokens while the demo runs: subject tokens that never grow old, and the realm's keys, by which exchanged ones are judged.

Must not know: HTTP, or which scenarios there are.
"""

import time
from collections.abc import Callable
from typing import Final, Protocol, final

import attrs
import trio

from exchanger.demo.answer import Exchanged, Reached, Upstream
from exchanger.demo.faults import DemoError
from exchanger.demo.keycloak.client import Issued, KeycloakClient
from exchanger.demo.keycloak.realm import APP, APP_BRIEF, Realm
from exchanger.demo.keycloak.subjects import subjects_of
from exchanger.demo.scenario import Subject
from exchanger.demo.signatures import Keys, Verification, verify
from exchanger.demo.token_rules import Target
from exchanger.demo.unsigned_jwt import claims_of

RETRY: Final = 5.0
"""Seconds until the realm is asked again after it did not answer; until then the tokens are those of before."""
PAST: Final = 1.0
"""Seconds beyond its end after which a token is expired for everybody: its times are whole seconds."""


class RealmClient(Protocol):
    """What is asked of the realm; each method raises ``DemoError`` when there is no useful answer."""

    @property
    def realm(self) -> Realm:
        """What is in the realm."""

    async def log_in(self, client: str = APP) -> Issued:
        """Return a token that the user gets through ``client``."""

    async def keys(self) -> Keys:
        """Return the keys of now."""

    async def exchange(self, token: str) -> None:
        """See that ``token`` can be exchanged."""


@final
@attrs.frozen
class TokenStatistics:
    """How often the subject tokens were renewed, how often that failed in succession, and how many keys the realm has."""

    renewed: int
    failures: int
    keys: int


@final
@attrs.define(eq=False)
class RealmTokens:
    """The subject tokens, and a judge of those that the upstream sees. ``run`` has to be started before the rest is of use."""

    client: RealmClient
    issuer: str
    _wall_clock: Callable[[], float] = time.time
    _subjects: dict[Subject, str] = attrs.field(factory=dict, repr=False)
    _keys: Keys = attrs.field(factory=dict, repr=False)
    _renewed: int = 0
    _failures: int = 0

    def statistics(self) -> TokenStatistics:
        """Return how it stands with the tokens."""
        return TokenStatistics(self._renewed, self._failures, len(self._keys))

    def token(self, subject: Subject) -> str:
        """Return the token for ``subject``, "" for none."""
        return self._subjects[subject]

    async def verify(self, token: str) -> Verification:
        """Return what the realm's keys say of ``token``."""
        await trio.lowlevel.checkpoint()
        return self.judge(token)

    def judge(self, token: str) -> Verification:
        """Return what the realm's keys say of ``token``, as far as they are known."""
        return verify(token, self._keys, self.issuer, self._wall_clock())

    def recognise(self, seen: str, sent: str) -> Upstream:
        """Return what a token that the upstream saw is: exchanged only if the realm has signed it for the same user, for the service."""
        claims, before = claims_of(seen) or {}, claims_of(sent) or {}
        own = claims.get("azp") == self.client.realm.client_id and claims.get("sub") == before.get("sub") is not None
        if not own or not self.judge(seen).verified:
            return Reached.WITH_OTHER
        scope = [word for word in str(claims.get("scope", "")).split() if word not in self.client.realm.default_scopes]
        audience = claims.get("aud", [])
        audiences = sorted(str(name) for name in audience) if isinstance(audience, list) else [str(audience)]  # Keycloak's has no order
        return Exchanged(Target(" ".join(scope), (), tuple(audiences)))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Have tokens, ``started()`` once they can be used, and renew them in time until cancelled.

        Raises:
            DemoError: there are none to begin with.
        """
        brief = await self.client.log_in(APP_BRIEF)
        expired_at = trio.current_time() + brief.lifetime + PAST
        lifetime = await self._renew(brief.token)
        await self.client.exchange(self.token(Subject.VALID))
        await trio.sleep_until(expired_at)
        task_status.started()
        while True:
            # Half of it: the realm issues no exchanged token that outlives the caller's.
            await trio.sleep(lifetime / 2 if self._failures == 0 else RETRY)
            try:
                lifetime = await self._renew(brief.token)
                self._failures = 0
            except DemoError:
                self._failures += 1  # it shows in what comes of the requests, and the next attempt may do

    async def _renew(self, expired: str) -> float:
        """Ask for a new token and the keys of now; return how many seconds the token lives."""
        issued, keys = await self.client.log_in(), await self.client.keys()
        self._subjects, self._keys = subjects_of(issued.token, expired), keys
        self._renewed += 1
        return issued.lifetime


async def open_realm(nursery: trio.Nursery, client: KeycloakClient, admin_password: str | None) -> RealmTokens:
    """Start the realm's tokens in ``nursery``; with an administrator's password, have the realm created where it is missing.

    Raises:
        DemoError: there is no such realm, or it is not what the demo needs.
    """
    issuer = await client.issuer()
    if issuer is None and admin_password is not None:
        await client.create_realm(admin_password)
        issuer = await client.issuer()
    if issuer is None:
        raise DemoError(
            f"Keycloak at {client.address} has no realm {client.realm.name}: "
            "import exchanger/demo/keycloak/realm.json, or name the file with the administrator's password (--keycloak-admin-password-file)"
        )
    tokens = RealmTokens(client, issuer)
    await nursery.start(tokens.run)
    return tokens
