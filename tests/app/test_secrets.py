"""How an issuer's Secret is followed: by a watch that is never given up, and by reading beside it while that is refused."""

import itertools
import math
from collections.abc import Callable
from random import Random
from typing import Any, Final

import attrs
import pytest
import trio
from hypothesis import event, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.app.secrets import FAILING_S, SETTLED_S, ApiSecrets, SecretState, WatchingSecrets, secret_problem
from exchanger.exchange.issuers.secrets import (
    FIRST_RETRY_S,
    JITTER,
    POLL_S,
    SecretData,
    SecretFault,
    SecretName,
    SecretProblem,
    secret_data,
)
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind, ListWatch
from exchanger.util.backoff import CAP_S
from tests.examples import examples
from tests.sources.kube.cluster import REFUSED
from tests.sources.kube.fake_api_server import FakeApiServer, FakeResource, Request, Verb
from tests.sources.kube.scripted_server import answer, says, serving

OAUTH = SecretName("team", "issuer-oauth")
MISSING = SecretProblem(SecretFault.MISSING, "there is no Secret team/issuer-oauth")
UNREACHABLE = SecretProblem(SecretFault.UNREACHABLE, "the API server did not return it: unreachable")
UNDECRYPTED = SecretProblem(SecretFault.UNREACHABLE, "the API server did not return it: server_error")
FORBIDDEN = SecretProblem(SecretFault.FORBIDDEN, "needs list and watch on secrets/issuer-oauth in the namespace team")
NO_RIGHT = ApiFailure(FailureKind.FORBIDDEN, 403, "secrets is forbidden")
NO_KEY = ApiFailure(FailureKind.SERVER_ERROR, 500, "unable to decrypt")
READ_WITHIN_S: Final = POLL_S * (1 + JITTER)
# The longest wait of a reflector between two attempts.
WAIT_S: Final = 2 * CAP_S
# Seconds in which a watch is there again: two attempts, since the first one may be a look at the newest version.
CONNECTED_S: Final = 2 * WAIT_S


def version(value: str) -> SecretData:
    return secret_data(value, {"client_secret": "Y2FuYXJ5"})


@attrs.define(eq=False)
class Server:
    """Secrets of one namespace; ``selects`` or, like no real server, gives all of them whatever was asked for.

    ``may_get`` is a right of its own, as with RBAC; an outage of ``server`` is one of reading, too. The answer to a read takes ``reading``
    seconds, and is not to be called off.
    """

    server: FakeApiServer = attrs.field(factory=FakeApiServer)
    selects: bool = True
    may_get: bool = True
    reading: float = 0.0
    reads: list[float] = attrs.field(factory=list)
    _resource: FakeResource[SecretState] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._resource = FakeResource(self.server, "secrets")

    def put(self, value: str, name: str = OAUTH.name) -> SecretData:
        data = version(value)
        self._resource.put(name, data, namespace=OAUTH.namespace, labels={"name": name})
        return data

    def delete(self, name: str = OAUTH.name) -> None:
        self._resource.delete(name, namespace=OAUTH.namespace)

    def refuse(self, verb: Verb | None = None) -> None:
        """Withdraw the right to list and watch, or one of them. A server looks at rights when a request begins."""
        self.server.fail(NO_RIGHT, verb=verb, times=math.inf)
        self.server.cut(ApiFailure(FailureKind.UNREACHABLE))

    def present(self) -> SecretState:
        found = [stored.value for (_, key), stored in self.server.objects.items() if key.name == OAUTH.name]
        return found[0] if found else MISSING

    def list_watch(self, secret: SecretName, /) -> ListWatch[SecretState]:
        return self._resource.list_watch(
            namespace=secret.namespace, selects=lambda labels: not self.selects or labels["name"] == secret.name
        )

    async def read(self, secret: SecretName, /) -> SecretState:
        self.reads.append(trio.current_time())
        found = self.present() if self.may_get else FORBIDDEN
        if self.server.failing is not None:
            found = secret_problem(secret, self.server.failing)
        with trio.CancelScope(shield=True):
            await trio.sleep(self.reading)
        return found


@attrs.define(eq=False)
class Follower:
    server: Server
    secrets: WatchingSecrets
    learned: list[SecretState] = attrs.field(factory=list)
    times: list[float] = attrs.field(factory=list)

    def learn(self, found: SecretState) -> None:
        self.learned.append(found)
        self.times.append(trio.current_time())

    async def run(self) -> None:
        await self.secrets.follow(OAUTH, self.learn)


async def following(server: Server, *steps: "Callable[[Server], object]", pause: float = 1.0) -> Follower:
    """Follow for ``pause`` seconds, and again after each step; nothing may be left afterwards."""
    it = Follower(server, WatchingSecrets(server, Random(1)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        await trio.sleep(pause)
        for step in steps:
            step(server)
            await trio.sleep(pause)
        assert it.secrets.watched == 1
        nursery.cancel_scope.cancel()
    assert server.server.watchers == []
    assert (it.secrets.watched, it.secrets.polled) == (0, 0)
    return it


Do = Callable[[Server], object]


def put(value: str, name: str = OAUTH.name) -> Do:
    return lambda server: server.put(value, name)


def stop(failure: ApiFailure = NO_KEY) -> Do:
    return lambda server: server.server.stop(failure)


def heal(server: Server) -> None:
    server.server.heal()


def grant_get(server: Server) -> None:
    server.may_get = True


def fail_reading(failure: ApiFailure | None) -> Do:
    return lambda server: setattr(server.server, "failing", failure)


def restart(server: Server) -> None:
    """Refuse one request, as a server does in its first moment."""
    server.server.fail(NO_RIGHT)
    server.server.cut(ApiFailure(FailureKind.UNREACHABLE))


def refuse(verb: Verb | None = None) -> Do:
    return lambda server: server.refuse(verb)


def refuse_at_first(times: int) -> Do:
    return lambda server: server.server.fail(NO_RIGHT, times=times)


def fail_for_ever(server: Server) -> None:
    server.server.heal()
    server.server.fail(NO_KEY, times=math.inf)


V1, V2, V3 = map(version, "123")
MINUTES: Final = 600.0
READ: Final = READ_WITHIN_S + 3.0


@pytest.mark.parametrize("may_get", [True, False])
@pytest.mark.parametrize(
    ("steps", "pause", "learned"),
    [
        pytest.param([put("1"), put("2"), Server.delete, put("3")], 0.1, [MISSING, V1, V2, MISSING, V3], id="versions"),
        pytest.param([put("1")], 1000.0, [MISSING, V1], id="late"),
        pytest.param([put("1"), put("0", "other"), lambda it: it.delete("other")], 1.0, [MISSING, V1], id="others"),
        pytest.param([put("1"), *[stop(), heal] * 2], FAILING_S - 1, [MISSING, V1], id="short outages"),
        pytest.param([put("1"), *[stop(), heal] * 2], MINUTES, [MISSING, V1, UNDECRYPTED, V1, UNDECRYPTED, V1], id="outages"),
        pytest.param([put("1"), *[stop(), stop(REFUSED)] * 5, heal], MINUTES, [MISSING, V1, UNDECRYPTED, UNREACHABLE, V1], id="reasons"),
        pytest.param([put("1"), *[restart] * 10], CONNECTED_S, [MISSING, V1], id="single refusals"),
        pytest.param([put("1"), restart, put("2")], 5.0, [MISSING, V1, V2], id="a restart"),
    ],
)
async def test_a_working_watch_needs_no_reads(
    autojump_clock: MockClock, *, steps: list[Do], pause: float, learned: list[SecretState], may_get: bool
) -> None:
    server = Server(selects=False, may_get=may_get)
    it = await following(server, *steps, pause=pause)
    assert it.learned == learned
    assert server.reads == []


@pytest.mark.parametrize("may_get", [True, False])
async def test_one_refusal_at_the_start_costs_no_more_than_a_moment(autojump_clock: MockClock, *, may_get: bool) -> None:
    server = Server(may_get=may_get)
    server.put("1")
    server.server.fail(NO_RIGHT)
    it = await following(server, put("2"), pause=2.0)
    assert (it.learned, server.reads) == ([V1, V2], [])


@pytest.mark.parametrize(
    ("may_get", "first", "steps", "pause", "learned"),
    [
        pytest.param(True, refuse(), [put("2"), Server.delete], READ, [V1, V2, MISSING], id="the right to get alone"),
        pytest.param(True, refuse(Verb.LIST), [put("2")], CONNECTED_S + READ, [V1, V2], id="the rights to get and watch"),
        pytest.param(True, refuse(Verb.WATCH), [put("2")], CONNECTED_S + READ, [V1, V2], id="the rights to get and list"),
        *(
            pytest.param(False, refuse_at_first(times), [put("2")], MINUTES, [FORBIDDEN, V1, V2], id=f"a role after {times} refusals")
            for times in (2, 3, 10)
        ),
        pytest.param(False, refuse(), [heal, put("2")], MINUTES, [FORBIDDEN, V1, V2], id="none, then list and watch"),
        pytest.param(False, refuse(), [grant_get, put("2")], MINUTES, [FORBIDDEN, V1, V2], id="none, then get"),
        pytest.param(False, None, [refuse(), heal], MINUTES, [V1, FORBIDDEN, V1], id="withdrawn and given again"),
        pytest.param(True, None, [refuse(), put("2"), heal, put("3")], MINUTES, [V1, V2, V3], id="nothing older than what was read"),
        pytest.param(True, None, [refuse(), fail_for_ever], MINUTES, [V1], id="while it is read, the watch's failures are no trouble"),
        pytest.param(True, fail_reading(REFUSED), [heal], MINUTES, [UNREACHABLE, V1], id="an outage at the start"),
        pytest.param(
            True, refuse(), [fail_reading(NO_KEY), fail_reading(None)], MINUTES, [V1, UNDECRYPTED, V1], id="an outage while it is read"
        ),
    ],
)
async def test_secrets_are_learned_with_some_of_the_rights(
    autojump_clock: MockClock, *, may_get: bool, first: Do | None, steps: list[Do], pause: float, learned: list[SecretState]
) -> None:
    server = Server(may_get=may_get)
    server.put("1")
    if first is not None:
        first(server)
    it = await following(server, *steps, pause=pause)
    assert it.learned == learned
    assert not first or it.times[0] < 3.0
    assert it.times[-1] % pause <= CONNECTED_S + READ_WITHIN_S


async def test_refused_client_credentials_end_the_wait_for_the_secret(autojump_clock: MockClock) -> None:
    server = Server()
    server.put("1")
    it = Follower(server, WatchingSecrets(server, Random(1)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        await trio.sleep(1.0)
        server.server.stop(NO_KEY)
        await trio.sleep(600.0)
        server.put("2")
        server.server.heal()
        it.secrets.retry_now()
        await trio.sleep(2 * FIRST_RETRY_S)
        assert it.learned[-1] == server.present()
        requests = len(server.server.requests)
        server.server.stop(NO_KEY)
        for _ in range(1000):
            it.secrets.retry_now()
            await trio.sleep(0.01)
        assert len(server.server.requests) - requests <= 10.0 / FIRST_RETRY_S + 2
        nursery.cancel_scope.cancel()


async def test_the_first_state_is_waited_for_with_short_pauses(autojump_clock: MockClock) -> None:
    server = Server()
    first = server.put("1")
    server.server.stop(NO_KEY)
    it = Follower(server, WatchingSecrets(server, Random(1)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        await trio.sleep(600.0)
        server.server.heal()
        await trio.sleep(3.0)
        assert it.learned[-1] == first
        nursery.cancel_scope.cancel()


async def test_a_watch_that_comes_for_a_moment_ends_no_trouble(autojump_clock: MockClock) -> None:
    """What is known is told when the watch has lasted, so that one that is taken and lost again and again fills no log."""
    server = Server()
    first = server.put("1")
    it = Follower(server, WatchingSecrets(server, Random(1)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        await trio.sleep(1.0)
        server.server.stop(NO_KEY)
        await trio.sleep(600.0)
        server.server.heal()
        while not server.server.watchers:  # noqa: ASYNC110 - the server tells nobody
            await trio.sleep(0.01)
        await trio.sleep(SETTLED_S / 2)
        server.server.stop(NO_KEY)
        await trio.sleep(FAILING_S - 1)
        assert it.learned == [first, UNDECRYPTED]
        nursery.cancel_scope.cancel()


async def test_a_server_that_refuses_for_ever_is_asked_with_long_pauses(autojump_clock: MockClock) -> None:
    server = Server()
    server.put("1")
    server.refuse()
    await following(server, pause=3600.0)
    assert len(server.server.requests) <= 3600.0 / CAP_S
    assert len(server.reads) <= 3600.0 / POLL_S


async def test_an_old_read_is_not_reported_once_the_watch_is_there(autojump_clock: MockClock) -> None:
    """The answer to a read that is under way when the watch comes is older than what the watch has."""
    server = Server(reading=9.0)
    server.refuse()
    it = Follower(server, WatchingSecrets(server, Random(1)))
    given_back = trio.Event()

    def give_back(_: Request) -> None:
        if trio.current_time() > 300.0 and trio.current_time() < server.reads[-1] + server.reading and not given_back.is_set():
            given_back.set()
            server.server.heal()

    server.server.before = give_back
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        count = 0
        while not given_back.is_set():
            count += 1
            server.put(str(count))
            await trio.sleep(0.7)
        last = server.put(str(count + 1))
        await trio.sleep(CONNECTED_S)
        assert (it.secrets.watched, it.secrets.polled) == (1, 0)
        versions = [int(found.version) for found in it.learned if isinstance(found, SecretData)]
        assert versions == sorted(versions)
        assert it.learned[-1] == last
        nursery.cancel_scope.cancel()


# The answers of an API server


METADATA = {"name": "issuer-oauth", "namespace": "team", "resourceVersion": "7"}
SECRET: dict[str, object] = {"kind": "Secret", "apiVersion": "v1", "metadata": METADATA}


async def read(reply: dict[str, object], status: str = "200 OK") -> SecretState:
    async with serving(says(answer(reply, status))) as http:
        found = await ApiSecrets(http.connection()).read(OAUTH)
        assert [request.target for request in http.requests] == ["/api/v1/namespaces/team/secrets/issuer-oauth"]
    return found


async def test_a_secret() -> None:
    found = await read({**SECRET, "data": {"client_id": "Y2xpZW50", "broken": "?", "odd": 5}})
    assert isinstance(found, SecretData)
    assert (found.version, "client_id" in found.values, found.undecodable) == ("7", True, frozenset({"broken"}))
    assert found.values["client_id"].reveal() == "client"
    empty = await read(SECRET)
    assert isinstance(empty, SecretData)
    assert len(empty.values) == 0


NO_SECRET: Final = SecretProblem(SecretFault.MALFORMED, "is not a valid Secret")
STATUS: Final = {"kind": "Status", "message": "the server's words, which differ each time"}


@pytest.mark.parametrize(
    ("reply", "status", "problem"),
    [
        ({}, "200 OK", NO_SECRET),
        ({**SECRET, "metadata": []}, "200 OK", NO_SECRET),
        ({**SECRET, "metadata": {**METADATA, "resourceVersion": 7}}, "200 OK", NO_SECRET),
        ({**SECRET, "metadata": {**METADATA, "name": "another"}}, "200 OK", NO_SECRET),
        ({**SECRET, "metadata": {**METADATA, "namespace": "another"}}, "200 OK", NO_SECRET),
        ({**SECRET, "data": [1]}, "200 OK", NO_SECRET),
        ({**SECRET, "kind": "ConfigMap"}, "200 OK", NO_SECRET),
        ({**SECRET, "apiVersion": "v2"}, "200 OK", NO_SECRET),
        ({"metadata": METADATA}, "200 OK", NO_SECRET),
        (STATUS, "404 Not Found", MISSING),
        (STATUS, "403 Forbidden", FORBIDDEN),
        (STATUS, "500 Internal Server Error", UNDECRYPTED),
        (STATUS, "401 Unauthorized", SecretProblem(SecretFault.UNREACHABLE, "the API server did not return it: unauthorized")),
    ],
)
async def test_any_other_answer_is_a_problem(reply: dict[str, Any], status: str, problem: SecretProblem) -> None:
    assert await read(reply, status) == problem


# Law


# What happens, and a value for it.
Step = tuple[str, Any]

# Seconds after the last fault: the longest waits that may be under way, and the longest time to the next comparison.
QUIET_S: Final = 2 * WAIT_S + 720.0 + WAIT_S

kinds = st.sampled_from(FailureKind)
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("write"), st.none() | st.integers(0, 3)),
    st.tuples(st.just("write"), st.integers(0, 3)),
    st.tuples(st.just("refuse"), st.none() | st.sampled_from(Verb)),
    st.tuples(st.just("get"), st.booleans()),
    st.tuples(st.just("fail"), st.tuples(st.just(FailureKind.FORBIDDEN) | kinds, st.integers(1, 4))),
    st.tuples(st.just("outage"), kinds),
    st.tuples(st.just("cut"), st.none() | kinds),
    st.tuples(st.just("heal"), st.none()),
    st.tuples(st.just("restore"), st.integers(1, 4)),
)
waits = st.sampled_from([0.0, 0.1, 0.9, 2.0, 31.0, 80.0, 300.0])


def take(step: Step, server: Server) -> None:
    match step:
        case "write", None:
            server.delete()
        case "write", value:
            server.put(str(value))
        case "refuse", verb:
            server.refuse(verb)
        case "get", allowed:
            server.may_get = allowed
        case "fail", (kind, times):
            server.server.fail(ApiFailure(kind), times=times)
        case "outage", kind:
            server.server.stop(ApiFailure(kind))
        case "cut", kind:
            server.server.cut(None if kind is None else ApiFailure(kind))
        case "heal", None:
            server.server.heal()
        case "restore", back:
            server.server.restore(max(min(server.server.states), server.server.version - back))
            server.server.cut(ApiFailure(FailureKind.UNREACHABLE))
        case _:
            raise ValueError(step)


async def live(history: list[tuple[Step, float]], seed: int) -> None:
    server = Server()
    server.put("0")
    it = Follower(server, WatchingSecrets(server, Random(seed)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        for step, wait in history:
            take(step, server)
            await trio.sleep(wait)
        event(f"reading: {bool(it.secrets.polled)}")
        server.server.heal()
        await trio.sleep(QUIET_S)
        assert it.learned[-1] == server.present()
        assert (it.secrets.watched, it.secrets.polled) == (1, 0)
        server.put("last")
        await wait_all_tasks_blocked()
        assert it.learned[-1] == version("last")
        nursery.cancel_scope.cancel()
    assert all(earlier != later for earlier, later in itertools.pairwise(it.learned))
    event(f"read: {bool(server.reads)}")


@settings(max_examples=examples(200))
@given(st.lists(st.tuples(steps, waits), max_size=25), st.integers(0, 2**32))
def test_after_a_quiet_time_the_last_published_secrets_are_the_current_ones(history: list[tuple[Step, float]], seed: int) -> None:
    trio.run(live, history, seed, clock=MockClock(autojump_threshold=0))
