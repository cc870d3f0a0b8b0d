"""The realm's tokens over time: ready when they are said to be, renewed before they expire, and judged by the keys of now."""

from typing import Final

import attrs
import pytest
import trio
from trio.testing import MockClock

from exchanger.demo import DemoError
from exchanger.demo.keycloak.client import Issued
from exchanger.demo.keycloak.realm import APP, APP_BRIEF, Realm
from exchanger.demo.keycloak.tokens import PAST, RETRY, RealmTokens
from exchanger.demo.keycloak.verification import Keys, read_keys
from exchanger.scenarios.answer import Exchanged, Reached, Target
from exchanger.scenarios.tokens import Subject, claims_of
from tests.demo.fake_keycloak import REALM
from tests.demo.signed import ISSUER, NOW, SIGNER, STRANGER, Signer, claims

LIFETIME: Final = 300.0


@attrs.define(eq=False)
class FakeRealm:
    """Signs with ``signer``; answers nothing while it is ``lost``."""

    realm: Realm = REALM
    signer: Signer = SIGNER
    lost: bool = False
    exchanges: bool = True
    logins: list[tuple[float, str]] = attrs.field(factory=list)

    async def log_in(self, client: str = APP) -> Issued:
        await trio.lowlevel.checkpoint()
        if self.lost:
            raise DemoError("lost")
        self.logins.append((trio.current_time(), client))
        token = self.signer.sign(claims(azp=client, aud="exchanger", number=len(self.logins)))
        return Issued(token, 1.0 if client == APP_BRIEF else LIFETIME)

    async def keys(self) -> Keys:
        await trio.lowlevel.checkpoint()
        return read_keys(self.signer.jwks())

    async def exchange(self, token: str) -> None:
        await trio.lowlevel.checkpoint()
        if not self.exchanges:
            raise DemoError("not exchanged")


async def started(nursery: trio.Nursery, realm: FakeRealm) -> RealmTokens:
    tokens = RealmTokens(realm, ISSUER, lambda: float(NOW))
    await nursery.start(tokens.run)
    return tokens


async def test_it_is_ready_once_the_brief_token_has_expired(autojump_clock: MockClock) -> None:
    realm = FakeRealm()
    async with trio.open_nursery() as nursery:
        begin = trio.current_time()
        tokens = await started(nursery, realm)
        assert trio.current_time() - begin == pytest.approx(1.0 + PAST)
        assert [client for _, client in realm.logins] == [APP_BRIEF, APP]
        assert (claims_of(tokens.token(Subject.EXPIRED)) or {})["azp"] == APP_BRIEF
        assert tokens.token(Subject.NONE) == ""
        nursery.cancel_scope.cancel()


async def test_each_bad_token_is_the_users_and_is_bad_in_its_own_way(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        tokens = await started(nursery, FakeRealm())
        assert tokens.judge(tokens.token(Subject.VALID)).verified
        bad = {subject: tokens.token(subject) for subject in (Subject.UNSIGNED, Subject.TRUNCATED, Subject.FOREIGN)}
        assert len(set(bad.values())) == len(bad)
        assert not any(tokens.judge(token).verified for token in bad.values())
        assert {(claims_of(token) or {})["sub"] for token in bad.values()} == {"alice"}
        assert bad[Subject.UNSIGNED].endswith(".")
        assert tokens.token(Subject.VALID).startswith(bad[Subject.TRUNCATED])
        assert (claims_of(bad[Subject.FOREIGN]) or {})["iss"] != ISSUER
        nursery.cancel_scope.cancel()


async def test_tokens_are_renewed_at_half_their_life_and_kept_while_the_realm_is_away(autojump_clock: MockClock) -> None:
    realm = FakeRealm()
    async with trio.open_nursery() as nursery:
        tokens = await started(nursery, realm)
        first = tokens.token(Subject.VALID)
        await trio.sleep(LIFETIME / 2 + 0.1)
        second = tokens.token(Subject.VALID)
        assert second != first
        realm.lost = True
        await trio.sleep(LIFETIME / 2)
        assert tokens.token(Subject.VALID) == second
        assert tokens.failures == 1
        await trio.sleep(2 * RETRY)
        assert tokens.failures == 3
        realm.lost = False
        await trio.sleep(RETRY)
        assert tokens.token(Subject.VALID) != second
        assert tokens.failures == 0
        renewed = tokens.renewed
        await trio.sleep(LIFETIME / 2 - 1.0)
        assert tokens.renewed == renewed, "after a success it waits for as long as ever"
        nursery.cancel_scope.cancel()


async def test_new_keys_of_the_realm_are_taken_with_its_tokens(autojump_clock: MockClock) -> None:
    realm = FakeRealm()
    async with trio.open_nursery() as nursery:
        tokens = await started(nursery, realm)
        realm.signer = STRANGER
        assert not (await tokens.verify(STRANGER.sign(claims()))).verified
        await trio.sleep(LIFETIME / 2 + 0.1)
        assert (await tokens.verify(STRANGER.sign(claims()))).verified
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("realm", [FakeRealm(lost=True), FakeRealm(exchanges=False)])
async def test_a_realm_that_is_of_no_use_is_a_fault_at_the_start(realm: FakeRealm, autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(DemoError), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await started(nursery, realm)
            nursery.cancel_scope.cancel()


async def test_a_token_is_recognised_only_if_the_realm_has_signed_it_for_the_same_user_and_for_the_service(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        tokens = await started(nursery, FakeRealm())
        sent = tokens.token(Subject.VALID)

        def seen(signer: Signer = SIGNER, **changed: object) -> object:
            return tokens.recognise(signer.sign(claims(scope="phone email profile", **changed)), sent)

        assert seen() == Exchanged(Target("phone", (), ("orders-api",)))
        assert seen(aud=["reports-api", "orders-api"]) == Exchanged(Target("phone", (), ("orders-api", "reports-api")))
        assert seen(aud=[]) == Exchanged(Target("phone", (), ()))
        assert seen(STRANGER) is Reached.WITH_OTHER
        assert seen(azp="app") is Reached.WITH_OTHER
        assert seen(sub="bob") is Reached.WITH_OTHER
        assert seen(exp=NOW) is Reached.WITH_OTHER
        assert seen(iss="https://login.example.com") is Reached.WITH_OTHER
        assert tokens.recognise(sent, sent) is Reached.WITH_OTHER
        nobodys = {name: value for name, value in claims().items() if name != "sub"}
        assert tokens.recognise(SIGNER.sign(nobodys), "opaque") is Reached.WITH_OTHER
        assert tokens.recognise("opaque", "opaque") is Reached.WITH_OTHER
        nursery.cancel_scope.cancel()


async def test_no_token_is_in_a_repr(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        tokens = await started(nursery, FakeRealm())
        assert tokens.token(Subject.VALID)[:20] not in repr(tokens)
        nursery.cancel_scope.cancel()
