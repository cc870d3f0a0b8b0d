"""A token endpoint that does not know rotated credentials yet gets one more request, with the previous ones."""

import functools
import json
import logging
from collections.abc import Mapping
from typing import Final

import attrs
import pytest
from structlog.testing import capture_logs
from trio.testing import MockClock

from exchanger.exchange.oauth.rotation import Rotations
from exchanger.exchange.oauth.settings import TokenClientSettings
from exchanger.exchange.oauth.token_response import TokenResponseRules
from exchanger.model.issuer import Credentials
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, ExchangedToken, ExchangeFailure, ExchangeRecord, TokenOutcome, TokenRequest
from tests.exchange.oauth.fakes import HTTP, ISSUED, exchange, response, success, token_request, world
from tests.exchange.oauth.published import Site
from tests.lines import Lines

NEW, OLD = "canary-new", "canary-old"
PREVIOUS = Credentials("before", Secret(OLD), 0)
PASSTHROUGH = TokenResponseRules(error_passthrough=True)


def error(code: str, status: int = 400) -> bytes:
    return response(json.dumps({"error": code, "error_description": f"{NEW} {OLD}"}).encode(), status)


REFUSED, SUCCESS = error("invalid_client", 401), response(success())


def rotated(previous: Credentials | None = PREVIOUS) -> TokenRequest:
    request = token_request(client_secret=NEW, generation=1)
    return attrs.evolve(request, issuer=attrs.evolve(request.issuer, previous=previous))


def answering(*answers: bytes) -> Site:
    """Give ``answers`` in turn, whichever connection asks; requests beyond them get none."""
    remaining = list(answers)
    return Site(token=lambda _: remaining.pop(0) if remaining else b"")


@attrs.frozen
class Ended:
    outcome: TokenOutcome
    records: tuple[ExchangeRecord, ...]
    secrets: tuple[str, ...]


async def exchanged(request: TokenRequest, *answers: bytes, settings: TokenClientSettings = HTTP) -> Ended:
    site = answering(*answers)
    async with world(site.serve, settings=settings) as it:
        outcome = await exchange(it.client, request)
        assert it.client.in_flight == {}
    secrets = tuple(fields.get("client_secret", "") for _, fields in site.posts)
    return Ended(outcome, tuple(it.observer.records), secrets)


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(REFUSED, id="invalid_client with 401"),
        pytest.param(error("invalid_client", 400), id="invalid_client with 400"),
        pytest.param(error("invalid_client", 403), id="invalid_client with 403"),
        pytest.param(error("unauthorized_client", 401), id="unauthorized_client with 401, of Keycloak"),
        pytest.param(response(b"no", 401), id="a 401 without a code"),
        pytest.param(error("who are you", 401), id="a 401 with an unknown code"),
        pytest.param(response(b'{"error":"invalid_client","n":' + b"9" * 500_000 + b',"m":1.5}', 400), id="numbers, which are not read"),
    ],
)
@pytest.mark.parametrize("rules", [TokenResponseRules(), PASSTHROUGH], ids=["own words", "passthrough"])
async def test_a_refused_client_tries_its_previous_credentials_once(refused: bytes, rules: TokenResponseRules) -> None:
    ended = await exchanged(rotated(), refused, SUCCESS, settings=attrs.evolve(HTTP, rules=rules))
    assert ended.outcome == ISSUED
    assert ended.secrets == (NEW, OLD)
    assert [record.kind for record in ended.records] == [ErrorKind.HTTP_STATUS, None]


OTHERS: Final = [
    *(SUCCESS, error("invalid_grant"), error("invalid_grant", 401), error("invalid_target")),
    *(error("unauthorized_client"), error("unauthorized_client", 403), *(response(b"no", status) for status in (400, 403, 500))),
    *(response(b'{"access_token":"a"}'), response(b"", 302, "Location: http://other.example/"), b"no HTTP\r\n\r\n"),
]


@pytest.mark.parametrize("answer", OTHERS)
@pytest.mark.parametrize("rules", [TokenResponseRules(), PASSTHROUGH], ids=["own words", "passthrough"])
async def test_any_other_answer_is_the_outcome(answer: bytes, rules: TokenResponseRules) -> None:
    ended = await exchanged(rotated(), answer, SUCCESS, settings=attrs.evolve(HTTP, rules=rules))
    assert isinstance(ended.outcome, ExchangedToken) == (answer is SUCCESS)
    assert (ended.secrets, len(ended.records)) == ((NEW,), 1)


@pytest.mark.parametrize("second", [error("invalid_client", 400), error("invalid_grant"), response(b"no", 500), b"no HTTP\r\n\r\n"])
async def test_when_neither_pair_works_the_first_failure_is_the_outcome(caplog: pytest.LogCaptureFixture, second: bytes) -> None:
    caplog.set_level(logging.DEBUG)
    alone = await exchanged(rotated(None), REFUSED, SUCCESS)
    assert (alone.secrets, len(alone.records)) == ((NEW,), 1)
    ended = await exchanged(rotated(), REFUSED, second, SUCCESS)
    assert ended.outcome == alone.outcome
    assert (ended.secrets, len(ended.records)) == ((NEW, OLD), 2)
    assert isinstance(ended.outcome, ExchangeFailure)
    following = Rotations().next_credentials(rotated().issuer, rotated().issuer, ended.outcome)
    shown = f"{rotated()!r} {ended.outcome!r} {ended.records!r} {attrs.asdict(ended.records[1])!r} {following!r}"
    assert "canary" not in shown + ended.outcome.body
    assert caplog.records == []


async def test_an_endpoint_that_switches_between_two_calls_loses_no_exchange() -> None:
    site = answering(REFUSED, SUCCESS, REFUSED, REFUSED, SUCCESS, SUCCESS)
    async with world(site.serve) as it:
        assert [await exchange(it.client, rotated()) for _ in range(3)] == [ISSUED] * 3
    assert [fields["client_secret"] for _, fields in site.posts] == [NEW, OLD, NEW, OLD, NEW, NEW]


async def test_credentials_that_stay_wrong_get_a_third_call_once() -> None:
    site = answering(REFUSED, SUCCESS, *[REFUSED] * 5)
    async with world(site.serve) as it:
        first, *others = [await exchange(it.client, rotated()) for _ in range(3)]
    assert first == ISSUED
    assert [isinstance(outcome, ExchangeFailure) for outcome in others] == [True, True]
    assert [fields["client_secret"] for _, fields in site.posts] == [NEW, OLD, NEW, OLD, NEW, NEW, OLD]


# What is told of new credentials that are refused.


REFUSED_ONCE: Final = ("new_credentials_rejected", "primary", "issuer.example.com")
ACCEPTED: Final = ("new_credentials_accepted", "primary", "issuer.example.com")


class Switching:
    """Accepts the credentials of ``accepted``."""

    accepted = OLD

    def __call__(self, fields: Mapping[str, str]) -> bytes:
        return SUCCESS if fields["client_secret"] == self.accepted else REFUSED


async def test_refused_and_accepted_new_credentials_are_logged_once(autojump_clock: MockClock) -> None:
    """Also where instances of the endpoint differ."""
    endpoint, lines = Switching(), Lines()
    request = rotated()
    async with world(Site(token=endpoint).serve) as it:
        it.client.rotations.log = lines.logger
        it.client.use_issuers({"primary": request.issuer, "other": attrs.evolve(request.issuer, name="other", previous=None)})
        for endpoint.accepted, logged in ((OLD, [REFUSED_ONCE]), *((which, [REFUSED_ONCE, ACCEPTED]) for which in (NEW, OLD) * 5)):
            for _ in range(2):
                assert await exchange(it.client, request) == ISSUED
                refused = {issuer.name: found for issuer, found in it.client.credentials_rejected.items()}
                assert (refused, lines.events) == ({"primary": endpoint.accepted == OLD, "other": False}, logged)


async def test_a_rotation_without_a_refusal_and_refused_credentials_alone_are_not_told(autojump_clock: MockClock) -> None:
    endpoint, lines = Switching(), Lines()
    request = rotated()
    async with world(Site(token=endpoint).serve) as it:
        it.client.rotations.log = lines.logger
        it.client.use_issuers({"primary": request.issuer})
        for accepted in (NEW, "neither"):
            endpoint.accepted = accepted
            await exchange(it.client, request)
        assert lines.events == []
        assert it.client.credentials_rejected == {request.issuer: False}


async def test_each_rotation_that_is_refused_is_logged(autojump_clock: MockClock) -> None:
    endpoint, lines = Switching(), Lines()
    request = rotated()
    async with world(Site(token=endpoint).serve) as it:
        it.client.rotations.log = lines.logger
        it.client.use_issuers({"primary": request.issuer})
        assert await exchange(it.client, request) == ISSUED
        alone = attrs.evolve(request.issuer, previous=None)
        it.client.use_issuers({"primary": alone})
        assert it.client.credentials_rejected == {alone: False}
        third = attrs.evolve(request.issuer, credentials=Credentials("client", Secret("third"), 2))
        it.client.use_issuers({"primary": third})
        assert await exchange(it.client, attrs.evolve(request, issuer=third)) == ISSUED
        assert lines.events == [REFUSED_ONCE] * 2


@pytest.mark.parametrize("previous", [True, False])
async def test_a_refused_client_is_told_and_nothing_else_is(*, previous: bool) -> None:
    for answer, refused in ((REFUSED, True), (error("invalid_grant"), False), (SUCCESS, False)):
        told: list[None] = []
        async with world(answering(answer, SUCCESS).serve) as it:
            it.client.calls.client_refused = functools.partial(told.append, None)
            await exchange(it.client, rotated() if previous else rotated(None))
        assert told == [None] * refused


def test_the_warning_names_the_end_of_the_previous_credentials() -> None:
    begun = rotated().issuer
    assert begun.previous is not None
    before = attrs.evolve(begun, credentials=begun.previous, previous=None)
    for left, until in ((600.0, {"previous_until": "2027-01-15T08:10:00Z"}), (None, {})):
        with capture_logs() as lines:
            rotations = Rotations({begun.name: left}.get, lambda: 1_800_000_000.0)
            rotations.use_issuers({begun.name: begun})
            rotations.next_credentials(begun, before, ISSUED)
            rotations.next_credentials(begun, begun, ISSUED)
        named = {"issuer": begun.name, "endpoint": begun.endpoint_host}
        refused, accepted = lines
        assert refused.pop("text").startswith("the token endpoint accepts the previous credentials")
        assert refused == {"event": "issuers.new_credentials_rejected", "log_level": "warning", **named, **until}
        assert accepted == {"event": "issuers.new_credentials_accepted", "log_level": "info", **named}
