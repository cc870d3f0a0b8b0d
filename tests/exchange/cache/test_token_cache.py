"""The cache in memory alone, by examples; its law is tests/property/test_exchange_cache.py."""

import attrs
import pytest
import trio
from trio.testing import MockClock

from exchanger.exchange.cache.sealed_token import MAX_TOKEN_CHARS
from exchanger.exchange.cache.token_cache import SWEEP_S, TokenCache
from exchanger.model.issuer import CachePolicy
from exchanger.model.token import Cache, ExchangedToken
from exchanger.net.network import SYSTEM
from tests.exchange.cache.examples import HOST, START, Clocks, cache, issuer, jwt, outage, refusal, request, token


def test_a_hit_is_the_token_as_it_was_kept() -> None:
    one = cache(Clocks())
    one.keep(request(), token("issued", 120, expires_at=1_800_000_120))

    kept = one.find(request())
    assert kept is not None
    assert kept.token == token("issued", 120)
    assert (kept.token.cache, kept.token.call, kept.token.expires_at, kept.renew) == (Cache.HIT, None, 1_800_000_120, False)
    assert one.requests == {(HOST, "memory", "hit"): 1, (HOST, "memory", "miss"): 0}
    assert one.entries == 1


def test_without_a_cache_policy_of_the_issuer_nothing_is_cached_or_counted() -> None:
    for one, of in (
        (TokenCache(), issuer()),
        (cache(Clocks(), issuer(cache=None)), issuer(cache=None)),
        (cache(Clocks()), issuer("other")),
    ):
        asked = request(of=of)
        one.keep(asked, token())
        one.refused(asked, refusal())
        one.renewal_failed(asked)
        assert one.find(asked) is None
        assert not one.asks_shared(asked)
        assert sum(one.requests.values()) == 0


async def test_without_a_shared_level_there_is_nothing_to_ask() -> None:
    one = cache(Clocks())

    assert not one.asks_shared(request())
    assert await one.find_shared(request()) is None
    assert await one.find_shared(request()) is None
    assert await one.find_shared(request(of=issuer("other"))) is None


@pytest.mark.parametrize(
    ("subject", "issued"),
    [
        (jwt({"exp": "soon"}), token()),
        ("subject", token(jwt({"exp": "soon"}))),
        ("subject", token(jwt({"exp": int(Clocks().wall)}))),
        ("subject", token("x" * (MAX_TOKEN_CHARS + 1))),
        ("subject", token(expires_in=100, duration=95.0)),  # its time counts from the beginning of the call
    ],
    ids=["no time", "no time of its own", "over by itself", "too long", "too late"],
)
def test_what_is_not_kept_also_ends_what_was_there(subject: str, issued: ExchangedToken) -> None:
    one = cache(Clocks())
    one.keep(request(subject), token("before"))
    one.keep(request(subject), issued)

    assert one.find(request(subject)) is None


def test_smaller_bounds_hold_at_once() -> None:
    clocks = Clocks()
    one = cache(clocks)
    for number in range(5):
        one.keep(request(str(number)), token("issued", 200))
    clocks.advance(20.0)
    one.use_issuers({"primary": issuer(cache=CachePolicy(max_ttl=30.0, max_entries=2))})

    small = issuer(cache=CachePolicy(max_ttl=30.0, max_entries=2))
    assert [one.find(request(str(number), of=small)) is not None for number in range(5)] == [False, False, False, True, True]
    clocks.advance(10.0)
    assert one.find(request("4", of=small)) is None


def test_a_failed_renewal_is_repeated_and_a_refused_one_is_not() -> None:
    clocks = Clocks()
    one = cache(clocks)
    one.keep(request(), token("issued", 200))
    clocks.advance(180.0)

    def renews() -> bool | None:
        kept = one.find(request())
        return None if kept is None else kept.renew

    assert [renews(), renews()] == [True, False]
    one.refused(request(), outage())
    clocks.advance(5.0)
    assert [renews(), renews()] == [True, False]
    one.renewal_failed(request())
    clocks.advance(5.0)
    assert renews()
    one.refused(request(), refusal(401, "invalid_client"))
    assert renews() is None


async def test_expired_tokens_do_not_stay_in_memory(autojump_clock: MockClock) -> None:
    one = TokenCache(network=attrs.evolve(SYSTEM, steady=trio.current_time, wall=lambda: START + trio.current_time()))
    one.use_issuers({"primary": issuer()})
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        for number in range(100):
            one.keep(request(str(number)), token("issued", 10 if number % 2 else 200))
        await trio.sleep(SWEEP_S + 1)
        assert one.entries == 50
        nursery.cancel_scope.cancel()


def test_the_cache_shows_no_secret() -> None:
    one = cache(Clocks(), issuer(secret="canary-secret"))
    asked = request("canary-subject", of=issuer(secret="canary-secret"))
    one.keep(asked, token("canary-token"))

    assert one.entries == 1
    assert "canary" not in repr(one)
    assert "canary" not in repr(one.find(asked))
