"""The realm's tokens over time: ready when they are said to be, renewed before they expire, and checked by the keys of now."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import pytest
import trio
from trio.testing import MockClock

from exchanger.commands.demo import DemoError
from exchanger.commands.demo.keycloak.client import Issued
from exchanger.commands.demo.keycloak.realm import APP, APP_BRIEF, Realm
from exchanger.commands.demo.keycloak.tokens import PAST, RETRY, RealmTokens
from exchanger.commands.demo.keycloak.verification import Keys, read_keys
from exchanger.commands.scenarios.answer import Exchanged, Reached, RequestedTarget
from exchanger.commands.scenarios.tokens import Subject
from exchanger.formats.jwt.unverified import claims_of
from tests.commands.demo.fake_keycloak import REALM
from tests.commands.demo.signed import ISSUER, NOW, SIGNER, STRANGER, Signer, claims

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


@asynccontextmanager
async def started(realm: FakeRealm) -> AsyncIterator[RealmTokens]:
    async with trio.open_nursery() as nursery:
        tokens = RealmTokens(realm, ISSUER, lambda: float(NOW))
        await nursery.start(tokens.run)
        yield tokens
        nursery.cancel_scope.cancel()


async def test_it_is_ready_once_the_brief_token_has_expired(autojump_clock: MockClock) -> None:
    realm = FakeRealm()
    begin = trio.current_time()
    async with started(realm) as tokens:
        assert trio.current_time() - begin == pytest.approx(1.0 + PAST)
        assert [client for _, client in realm.logins] == [APP_BRIEF, APP]
        assert (claims_of(tokens.token(Subject.EXPIRED)) or {})["azp"] == APP_BRIEF
        assert tokens.token(Subject.NONE) == ""
        assert tokens.token(Subject.VALID)[:20] not in repr(tokens)


async def test_each_bad_token_names_the_user_and_is_rejected(autojump_clock: MockClock) -> None:
    realm = FakeRealm()
    async with started(realm) as tokens:
        assert tokens.check(tokens.token(Subject.VALID)).verified
        bad = {subject: tokens.token(subject) for subject in (Subject.UNSIGNED, Subject.TRUNCATED, Subject.FOREIGN)}
        assert len(set(bad.values())) == len(bad)
        assert not any(tokens.check(token).verified for token in bad.values())
        assert {(claims_of(token) or {})["sub"] for token in bad.values()} == {"alice"}
        assert bad[Subject.UNSIGNED].endswith(".")
        assert tokens.token(Subject.VALID).startswith(bad[Subject.TRUNCATED])
        assert (claims_of(bad[Subject.FOREIGN]) or {})["iss"] != ISSUER


async def test_tokens_are_renewed_at_half_their_lifetime_or_kept(autojump_clock: MockClock) -> None:
    realm = FakeRealm()
    async with started(realm) as tokens:
        first = tokens.token(Subject.VALID)
        await trio.sleep(LIFETIME / 2 + 0.1)
        second = tokens.token(Subject.VALID)
        assert second != first
        realm.lost = True
        await trio.sleep(LIFETIME / 2)
        assert (tokens.token(Subject.VALID), tokens.failures) == (second, 1)
        await trio.sleep(2 * RETRY)
        assert tokens.failures == 3
        realm.lost = False
        await trio.sleep(RETRY)
        assert tokens.token(Subject.VALID) != second
        assert tokens.failures == 0
        renewed = tokens.renewed
        await trio.sleep(LIFETIME / 2 - 1.0)
        assert tokens.renewed == renewed, "after a success it waits for as long as ever"


async def test_new_keys_of_the_realm_are_fetched_with_its_tokens(autojump_clock: MockClock) -> None:
    realm = FakeRealm()
    async with started(realm) as tokens:
        realm.signer = STRANGER
        assert not (await tokens.verify(STRANGER.sign(claims()))).verified
        await trio.sleep(LIFETIME / 2 + 0.1)
        assert (await tokens.verify(STRANGER.sign(claims()))).verified


@pytest.mark.parametrize("realm", [FakeRealm(lost=True), FakeRealm(exchanges=False)], ids=["lost", "exchanges nothing"])
async def test_a_useless_realm_is_a_fault_at_the_start(realm: FakeRealm, autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(DemoError), flatten_subgroups=True):
        async with started(realm):
            pytest.fail("it is not ready")


async def test_token_is_recognised_only_if_the_realm_exchanged_it_for_the_user(autojump_clock: MockClock) -> None:
    realm = FakeRealm()
    async with started(realm) as tokens:
        sent = tokens.token(Subject.VALID)

        def seen(signer: Signer = SIGNER, **changed: object) -> object:
            return tokens.recognise(signer.sign(claims(scope="phone email profile", **changed)), sent)

        for audience, shown in (
            ("orders-api", ("orders-api",)),
            (["reports-api", "orders-api"], ("orders-api", "reports-api")),
            ([], ()),
        ):
            assert seen(aud=audience) == Exchanged(RequestedTarget("phone", (), shown))
        assert seen(STRANGER) is Reached.WITH_OTHER
        for changed in ({"azp": "app"}, {"sub": "bob"}, {"exp": NOW}, {"iss": "https://login.example.com"}):
            assert seen(**changed) is Reached.WITH_OTHER
        nobodys = SIGNER.sign({name: value for name, value in claims().items() if name != "sub"})
        for token, before in ((sent, sent), (nobodys, "opaque"), ("opaque", "opaque")):
            assert tokens.recognise(token, before) is Reached.WITH_OTHER
