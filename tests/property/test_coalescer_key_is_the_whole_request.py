"""Law: two requests share a call if, and only if, they could not be told apart at the token endpoint.

Everything that makes a difference there, or in who may see the answer, is part of the key: endpoint, proxy, credentials and their
generation, subject token, scope, resources, audiences and types, also where a part contains what separates parts. Whose trace is
carried makes none.
"""

import attrs
import trio
from hypothesis import given, settings
from trio.testing import MockClock

from exchanger.values.token import TokenRequest
from exchanger.values.trace import NO_TRACE
from tests.credentials import client_secret
from tests.examples import examples
from tests.oauth.fakes import HTTP, NO_TLS, MemoryEndpoint, Observer, answering, client_of, exchange, response, running, success
from tests.property.strategies_oauth import similar_requests


async def calls_for(first: TokenRequest, second: TokenRequest) -> int:
    observer = Observer()
    async with trio.open_nursery() as nursery:
        endpoint = MemoryEndpoint(nursery, [answering(response(success()))])
        async with running(client_of(HTTP, observer, dial=endpoint.dial, tls=NO_TLS)) as client, trio.open_nursery() as callers:
            callers.start_soon(exchange, client, first)
            callers.start_soon(exchange, client, second)
        nursery.cancel_scope.cancel()
    endpoint.close()
    assert len(observer.coalesced_hosts) == 2 - len(observer.records)
    return len(observer.records)


def traceless(request: TokenRequest) -> str:
    """All of the request but its trace, with the secrets in the open."""
    whole = attrs.evolve(request, trace=NO_TRACE)
    proxy = whole.issuer.proxy
    secrets = (whole.subject_token, client_secret(whole.issuer.credentials), *(() if proxy is None else (proxy.credentials,)))
    return repr((whole, [secret.reveal() for secret in secrets]))


@settings(max_examples=examples(100))
@given(similar_requests, similar_requests)
def test_two_requests(first: TokenRequest, second: TokenRequest) -> None:
    calls = trio.run(calls_for, first, second, clock=MockClock(autojump_threshold=0))
    assert calls == (1 if traceless(first) == traceless(second) else 2)


@settings(max_examples=examples(25))
@given(similar_requests, similar_requests)
def test_a_request_and_its_like_under_another_trace(first: TokenRequest, second: TokenRequest) -> None:
    like = attrs.evolve(first, trace=second.trace)
    assert trio.run(calls_for, first, like, clock=MockClock(autojump_threshold=0)) == 1
