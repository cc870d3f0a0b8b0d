"""The demo with a Keycloak: the realm is the only issuer, its tokens are exchanged, and its keys say which tokens it has signed."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, final

import attrs
import trio

from exchanger.commands.demo import DemoError
from exchanger.commands.demo.keycloak.client import Issued, KeycloakClient
from exchanger.commands.demo.keycloak.realm import APP, APP_BRIEF, POLICY_FILE, KeycloakAddress, Realm, issuer_profile, policy_text
from exchanger.commands.demo.keycloak.verification import Keys, TokenVerification, subjects_of, verify
from exchanger.commands.demo.setup import DemoPorts, DemoSetup
from exchanger.commands.scenarios.answer import Exchanged, Reached, RequestedTarget, Upstream
from exchanger.commands.scenarios.builtin import packaged_scenarios
from exchanger.commands.scenarios.client import LOOPBACK
from exchanger.commands.scenarios.target import Gateway, ScenarioTarget
from exchanger.commands.scenarios.tokens import Subject
from exchanger.formats.jwt.unverified import claims_of
from exchanger.net.network import SYSTEM
from exchanger.util.regular_file import unreadable

# Seconds until the realm is asked again after it did not answer; until then, the old tokens stay.
RETRY: Final = 5.0
# Seconds after its expiry when a token is expired for every verifier: its times are whole seconds.
PAST: Final = 1.0
# Bytes of the file with the administrator's password.
MAX_PASSWORD: Final = 4_096


class RealmClient(Protocol):
    """The realm; each method raises ``DemoError`` without a useful answer."""

    @property
    def realm(self) -> Realm:
        """The content of the realm."""

    async def log_in(self, client: str = APP) -> Issued:
        """Return a token that the user gets through ``client``."""

    async def keys(self) -> Keys:
        """Return the current keys."""

    async def exchange(self, token: str) -> None:
        """Check that ``token`` can be exchanged."""


@final
@attrs.define(eq=False)
class RealmTokens:
    """The subject tokens, and a verifier of those that the upstream sees. Useful once ``run`` has started.

    ``renewed`` counts renewals, ``failures`` those that failed in succession.
    """

    client: RealmClient
    issuer: str
    _wall_clock: Callable[[], float] = SYSTEM.wall
    _subjects: dict[Subject, str] = attrs.field(factory=dict, repr=False)
    _keys: Keys = attrs.field(factory=dict, repr=False)
    renewed: int = 0
    failures: int = 0

    def token(self, subject: Subject) -> str:
        """Return the token for ``subject``, "" for none."""
        return self._subjects[subject]

    async def verify(self, token: str) -> TokenVerification:
        """Verify ``token`` with the realm's keys."""
        await trio.lowlevel.checkpoint()
        return self.check(token)

    def check(self, token: str) -> TokenVerification:
        """Verify ``token`` with the realm's known keys."""
        return verify(token, self._keys, self.issuer, self._wall_clock())

    def recognise(self, seen: str, sent: str) -> Upstream:
        """Judge a token that the upstream saw: exchanged only if the realm signed it for the same user and the service's client."""
        claims, before = claims_of(seen) or {}, claims_of(sent) or {}
        own = claims.get("azp") == self.client.realm.client_id and claims.get("sub") == before.get("sub") is not None
        if not own or not self.check(seen).verified:
            return Reached.WITH_OTHER
        scope = [word for word in str(claims.get("scope", "")).split() if word not in self.client.realm.default_scopes]
        audience = claims.get("aud", [])
        audiences = sorted(str(name) for name in audience) if isinstance(audience, list) else [str(audience)]  # Keycloak's has no order
        return Exchanged(RequestedTarget(" ".join(scope), (), tuple(audiences)))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Get tokens, ``started()`` once they can be used, and renew them in time until cancelled.

        Raises:
            DemoError: the first tokens cannot be obtained
        """
        brief = await self.client.log_in(APP_BRIEF)
        expired_at = trio.current_time() + brief.lifetime + PAST
        lifetime = await self._renew(brief.token)
        await self.client.exchange(self.token(Subject.VALID))
        await trio.sleep_until(expired_at)
        task_status.started()
        while True:
            # Half the lifetime: no exchanged token outlives the caller's.
            await trio.sleep(lifetime / 2 if self.failures == 0 else RETRY)
            try:
                lifetime = await self._renew(brief.token)
                self.failures = 0
            except DemoError:
                self.failures += 1  # requests show it, and the next attempt may work

    async def _renew(self, expired: str) -> float:
        """Request a new token and the current keys; return the token's lifetime in seconds."""
        issued, keys = await self.client.log_in(), await self.client.keys()
        self._subjects, self._keys = subjects_of(issued.token, expired), keys
        self.renewed += 1
        return issued.lifetime


async def open_realm(nursery: trio.Nursery, client: KeycloakClient, admin_password: str | None) -> RealmTokens:
    """Start the realm's tokens in ``nursery``; with an administrator's password, create the realm if it is missing.

    Raises:
        DemoError: there is no such realm, or it is not what the demo needs
    """
    issuer = await client.issuer()
    if issuer is None and admin_password is not None:
        await client.create_realm(admin_password)
        issuer = await client.issuer()
    if issuer is None:
        raise DemoError(
            f"Keycloak at {client.address} has no realm {client.realm.name}: "
            "import exchanger/commands/demo/keycloak/realm.json, or name the file with the administrator's password "
            "(--keycloak-admin-password-file)"
        )
    tokens = RealmTokens(client, issuer)
    await nursery.start(tokens.run)
    return tokens


def keycloak_setup(tokens: RealmTokens, address: KeycloakAddress) -> DemoSetup:
    """Return the setup for the realm of ``tokens``, in the Keycloak at ``address``."""
    realm = tokens.client.realm
    profile = issuer_profile(realm, address)

    def target(ports: DemoPorts) -> ScenarioTarget:
        return ScenarioTarget(
            gateway=Gateway(LOOPBACK, ports.envoy_port),
            subjects=tokens.token,
            made=frozenset(Subject) - {Subject.OPAQUE, Subject.REVOKED},  # a realm's tokens are JWTs
            policy=ports.policy,
            recognise=tokens.recognise,
            signed=True,
        )

    login = f"-d grant_type=password -d client_id={APP} -d username={realm.user} -d password={realm.password}"
    extract = """sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/'"""
    return DemoSetup(
        scenarios=packaged_scenarios("exchanger.commands.demo.keycloak", "scenarios.yaml"),
        policies={POLICY_FILE: policy_text()},
        profiles=(profile,),
        token=tokens.token,
        target=target,
        verify=tokens.verify,
        remark="the realm issues the tokens, and they expire after five minutes",
        renewal=f"TOKEN=$(curl -s {profile['tokenEndpoint']} {login} | {extract})",
    )


def read_password(file: Path) -> str:
    """Return the administrator's password in ``file``, without its line end.

    Raises:
        DemoError: it cannot be read, or holds none.
    """
    try:
        with file.open("rb") as opened:
            password = opened.read(MAX_PASSWORD).decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise DemoError(f"the administrator's password {unreadable(error)}") from None
    except UnicodeDecodeError:
        raise DemoError("the administrator's password cannot be read: it is not text") from None
    if not password:
        raise DemoError("the file for the administrator's password is empty")
    return password
