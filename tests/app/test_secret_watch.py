"""How an issuer's Secret is followed: by a watch that is never given up, and by reading beside it while that is refused."""

import itertools
import math
from collections.abc import Callable
from random import Random
from typing import Final, assert_never

import attrs
import pytest
import trio
from hypothesis import event, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.app.secret_reader import SecretState, secret_problem
from exchanger.app.secret_watch import FAILING_S, SETTLED_S, WatchingSecrets, WatchingStatistics
from exchanger.issuers.polling import JITTER, POLL_S
from exchanger.issuers.secrets import SecretData, SecretFault, SecretName, SecretProblem, secret_data
from exchanger.kube.list_watch import ApiFailure, FailureKind, ListWatch
from exchanger.util.backoff import CAP_S
from tests.examples import examples
from tests.kube.cluster import REFUSED
from tests.kube.fake_api_server import FakeApiServer, Request, Verb
from tests.kube.fake_list_watch import FakeResource

OAUTH = SecretName("team", "issuer-oauth")
MISSING = SecretProblem(SecretFault.MISSING, "there is no Secret team/issuer-oauth")
UNREACHABLE = SecretProblem(SecretFault.UNREACHABLE, "the API server did not give it: unreachable")
UNDECRYPTED = SecretProblem(SecretFault.UNREACHABLE, "the API server did not give it: server_error")
FORBIDDEN = SecretProblem(SecretFault.FORBIDDEN, "needs list and watch on secrets/issuer-oauth in the namespace team")
NO_RIGHT = ApiFailure(FailureKind.FORBIDDEN, 403, "secrets is forbidden")
NO_KEY = ApiFailure(FailureKind.SERVER_ERROR, 500, "unable to decrypt")
READ_WITHIN_S: Final = POLL_S * (1 + JITTER)
WAIT_S: Final = 2 * CAP_S
"""The longest wait of a reflector between two attempts."""
CONNECTED_S: Final = 2 * WAIT_S
"""Seconds in which a watch is there again: two attempts, since the first one may be a look at the newest version."""


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


async def following(server: Server, *steps: Callable[[], object], pause: float = 1.0) -> Follower:
    """Follow for ``pause`` seconds, and again after each step; nothing may be left afterwards."""
    it = Follower(server, WatchingSecrets(server, Random(1)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        await trio.sleep(pause)
        for step in steps:
            step()
            await trio.sleep(pause)
        assert it.secrets.statistics().watched == 1
        nursery.cancel_scope.cancel()
    assert server.server.watchers == []
    assert it.secrets.statistics() == WatchingStatistics(0, 0)
    return it


# By the watch


async def test_each_version_comes_as_it_is_written(autojump_clock: MockClock) -> None:
    server = Server()
    first = server.put("1")
    it = await following(server, lambda: server.put("2"), server.delete, lambda: server.put("3"), pause=0.1)
    assert it.learned == [first, version("2"), MISSING, version("3")]
    assert server.reads == []


async def test_one_that_is_missing_is_said_once_and_learned_when_it_is_there(autojump_clock: MockClock) -> None:
    server = Server()
    it = await following(server, lambda: server.put("1"), pause=1000.0)
    assert it.learned == [MISSING, version("1")]


async def test_others_of_the_namespace_are_nobodys_business(autojump_clock: MockClock) -> None:
    server = Server(selects=False)
    server.put("0", "other")
    first = server.put("1")
    it = await following(server, lambda: server.put("2", "other"), lambda: server.delete("other"))
    assert it.learned == [first]


# Outages


async def test_an_outage_at_the_start_is_told_at_once(autojump_clock: MockClock) -> None:
    server = Server()
    first = server.put("1")
    server.server.failing = REFUSED
    it = await following(server, server.server.heal, pause=CONNECTED_S)
    assert it.learned == [UNREACHABLE, first]
    assert it.times[0] == 0.0


async def test_an_outage_of_less_than_a_minute_is_not_told(autojump_clock: MockClock) -> None:
    server = Server()
    first = server.put("1")
    it = await following(server, server.server.stop, server.server.heal, server.server.stop, server.server.heal, pause=FAILING_S - 1)
    assert it.learned == [first]


async def test_an_outage_of_six_hours_is_told_after_a_minute_and_ends_with_what_is_known(autojump_clock: MockClock) -> None:
    server = Server()
    first = server.put("1")
    it = await following(server, lambda: server.server.stop(NO_KEY), server.server.heal, pause=6 * 3600.0)
    assert it.learned == [first, UNDECRYPTED, first]
    assert FAILING_S <= it.times[1] - 6 * 3600.0 <= FAILING_S + WAIT_S
    assert it.times[2] - 12 * 3600.0 <= CONNECTED_S
    assert server.reads == []


async def test_a_rotation_during_an_outage_is_learned_after_it(autojump_clock: MockClock) -> None:
    server = Server()
    first = server.put("1")
    it = await following(server, lambda: server.server.stop(NO_KEY), lambda: server.put("2"), server.server.heal, pause=600.0)
    assert [found for found in it.learned if isinstance(found, SecretData)][-1] == version("2")
    assert it.learned[:2] == [first, UNDECRYPTED]
    assert first not in it.learned[1:]  # not even for the moment until the watch has caught up


async def test_each_reason_of_an_outage_is_told_once(autojump_clock: MockClock) -> None:
    server = Server()
    first = server.put("1")

    def stop(failure: ApiFailure) -> Callable[[], None]:
        return lambda: server.server.stop(failure)

    it = await following(server, *[stop(NO_KEY), stop(REFUSED)] * 5, server.server.heal, pause=600.0)
    assert it.learned == [first, UNDECRYPTED, UNREACHABLE, first]


async def test_the_next_outage_is_told_again(autojump_clock: MockClock) -> None:
    server = Server()
    first = server.put("1")
    it = await following(server, *[lambda: server.server.stop(NO_KEY), server.server.heal] * 2, pause=600.0)
    assert it.learned == [first, UNDECRYPTED, first, UNDECRYPTED, first]


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


# Rights


@pytest.mark.parametrize("may_get", [True, False])
async def test_one_refusal_at_the_start_costs_no_more_than_a_moment(autojump_clock: MockClock, *, may_get: bool) -> None:
    server = Server(may_get=may_get)
    first = server.put("1")
    server.server.fail(NO_RIGHT)
    it = await following(server, lambda: server.put("2"), pause=2.0)
    assert it.learned == [first, version("2")]
    assert server.reads == []


async def test_one_refusal_later_costs_no_more_than_a_moment(autojump_clock: MockClock) -> None:
    server = Server(may_get=False)
    first = server.put("1")

    def restart() -> None:
        server.server.fail(NO_RIGHT)
        server.server.cut(ApiFailure(FailureKind.UNREACHABLE))

    it = await following(server, restart, lambda: server.put("2"), pause=5.0)
    assert it.learned == [first, version("2")]
    assert it.times[1] == 10.0
    assert server.reads == []


async def test_refusals_that_are_not_in_a_row_do_not_count(autojump_clock: MockClock) -> None:
    server = Server(may_get=False)
    first = server.put("1")

    def restart() -> None:
        server.server.fail(NO_RIGHT)
        server.server.cut(ApiFailure(FailureKind.UNREACHABLE))

    it = await following(server, *[restart] * 10, pause=CONNECTED_S)
    assert it.learned == [first]
    assert server.reads == []


async def test_with_the_right_to_get_alone_it_is_read(autojump_clock: MockClock) -> None:
    server = Server()
    first = server.put("1")
    server.refuse()
    it = await following(server, lambda: server.put("2"), server.delete, pause=READ_WITHIN_S + 3.0)
    assert it.learned == [first, version("2"), MISSING]
    assert it.times[0] < 3.0


async def test_a_server_that_refuses_for_ever_is_asked_with_long_pauses(autojump_clock: MockClock) -> None:
    server = Server()
    server.put("1")
    server.refuse()
    await following(server, pause=3600.0)
    assert len(server.server.requests) <= 3600.0 / CAP_S
    assert len(server.reads) <= 3600.0 / POLL_S


@pytest.mark.parametrize("verb", Verb)
async def test_with_one_of_the_rights_to_list_and_watch_it_is_followed_too(autojump_clock: MockClock, verb: Verb) -> None:
    server = Server()
    first = server.put("1")
    server.refuse(verb)
    it = await following(server, lambda: server.put("2"), pause=CONNECTED_S)
    assert it.learned == [first, version("2")]
    assert it.times[1] <= CONNECTED_S + READ_WITHIN_S


@pytest.mark.parametrize("refusals", [2, 3, 10])
async def test_a_role_that_comes_late_without_get(autojump_clock: MockClock, refusals: int) -> None:
    server = Server(may_get=False)
    first = server.put("1")
    server.server.fail(NO_RIGHT, times=refusals)
    it = await following(server, lambda: server.put("2"), pause=600.0)
    assert it.learned == [FORBIDDEN, first, version("2")]
    assert it.times[0] < 3.0
    assert it.times[2] == 600.0


async def test_no_right_and_then_the_one_to_list_and_watch(autojump_clock: MockClock) -> None:
    server = Server(may_get=False)
    server.put("1")
    server.refuse()
    it = await following(server, server.server.heal, lambda: server.put("2"), pause=600.0)
    assert it.learned == [FORBIDDEN, version("1"), version("2")]
    assert it.times[1] - 600.0 <= CONNECTED_S
    assert it.times[2] == 1200.0
    assert server.reads[-1] <= it.times[1]


async def test_no_right_and_then_the_one_to_get(autojump_clock: MockClock) -> None:
    server = Server(may_get=False)
    server.put("1")
    server.refuse()
    it = await following(server, lambda: setattr(server, "may_get", True), lambda: server.put("2"), pause=600.0)
    assert it.learned == [FORBIDDEN, version("1"), version("2")]
    assert it.times[1] - 600.0 <= WAIT_S
    assert it.times[2] - 1200.0 <= READ_WITHIN_S


async def test_rights_that_are_withdrawn_and_given_again(autojump_clock: MockClock) -> None:
    """What is known is told again, since reading has told a problem meanwhile."""
    server = Server(may_get=False)
    first = server.put("1")
    it = await following(server, server.refuse, server.server.heal, pause=600.0)
    assert it.learned == [first, FORBIDDEN, first]


async def test_a_version_that_was_read_does_not_give_way_to_an_older_one(autojump_clock: MockClock) -> None:
    server = Server()
    first = server.put("1")
    it = await following(server, server.refuse, lambda: server.put("2"), server.server.heal, lambda: server.put("3"), pause=600.0)
    assert it.learned == [first, version("2"), version("3")]
    assert it.times[2] == 2400.0


async def test_what_was_read_is_not_told_after_the_watch_is_there(autojump_clock: MockClock) -> None:
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
        assert it.secrets.statistics() == WatchingStatistics(1, 0)
        versions = [int(found.version) for found in it.learned if isinstance(found, SecretData)]
        assert versions == sorted(versions)
        assert it.learned[-1] == last
        nursery.cancel_scope.cancel()


async def test_while_it_can_be_read_the_watchs_failures_are_no_trouble(autojump_clock: MockClock) -> None:
    server = Server()
    first = server.put("1")

    def fail() -> None:
        server.server.heal()
        server.server.fail(NO_KEY, times=math.inf)

    it = await following(server, server.refuse, fail, pause=600.0)
    assert it.learned == [first]


async def test_an_outage_while_it_is_read_is_told_by_reading_alone(autojump_clock: MockClock) -> None:
    server = Server()
    first = server.put("1")
    server.refuse()

    def end() -> None:
        server.server.failing = None

    it = await following(server, lambda: setattr(server.server, "failing", NO_KEY), end, pause=600.0)
    assert it.learned == [first, UNDECRYPTED, first]


# Law


@attrs.frozen
class Write:
    value: int | None


@attrs.frozen
class Refuse:
    verb: Verb | None


@attrs.frozen
class Get:
    allowed: bool


@attrs.frozen
class Fail:
    kind: FailureKind
    times: int


@attrs.frozen
class Outage:
    kind: FailureKind


@attrs.frozen
class Cut:
    kind: FailureKind | None


@attrs.frozen
class Heal:
    pass


@attrs.frozen
class Restore:
    back: int


@attrs.frozen
class Wait:
    seconds: float


Step = Write | Refuse | Get | Fail | Outage | Cut | Heal | Restore | Wait

QUIET_S: Final = 2 * WAIT_S + 720.0 + WAIT_S
"""Seconds after the last fault: the longest waits that may be under way, and the longest time to the next comparison."""

kinds = st.sampled_from(FailureKind)
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Write, st.none() | st.integers(0, 3)),
    st.builds(Write, st.integers(0, 3)),
    st.builds(Refuse, st.none() | st.sampled_from(Verb)),
    st.builds(Get, st.booleans()),
    st.builds(Fail, st.just(FailureKind.FORBIDDEN) | kinds, st.integers(1, 4)),
    st.builds(Outage, kinds),
    st.builds(Cut, st.none() | kinds),
    st.builds(Heal),
    st.builds(Restore, st.integers(1, 4)),
)
waits = st.builds(Wait, st.sampled_from([0.0, 0.1, 0.9, 2.0, 31.0, 80.0, 300.0]))


def take(step: Write | Refuse | Get | Fail | Outage | Cut | Heal | Restore, server: Server) -> None:
    match step:
        case Write(None):
            server.delete()
        case Write(value):
            server.put(str(value))
        case Refuse(verb):
            server.refuse(verb)
        case Get(allowed):
            server.may_get = allowed
        case Fail(kind, times):
            server.server.fail(ApiFailure(kind), times=times)
        case Outage(kind):
            server.server.stop(ApiFailure(kind))
        case Cut(kind):
            server.server.cut(None if kind is None else ApiFailure(kind))
        case Heal():
            server.server.heal()
        case Restore(back):
            server.server.restore(max(min(server.server.states), server.server.version - back))
            server.server.cut(ApiFailure(FailureKind.UNREACHABLE))
        case _:
            assert_never(step)


async def live(history: list[Step], seed: int) -> None:
    server = Server()
    server.put("0")
    it = Follower(server, WatchingSecrets(server, Random(seed)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        for step in history:
            if isinstance(step, Wait):
                await trio.sleep(step.seconds)
            else:
                take(step, server)
        event(f"reading: {bool(it.secrets.statistics().polled)}")
        server.server.heal()
        await trio.sleep(QUIET_S)
        assert it.learned[-1] == server.present()
        assert it.secrets.statistics() == WatchingStatistics(1, 0)
        server.put("last")
        await wait_all_tasks_blocked()
        assert it.learned[-1] == version("last")
        nursery.cancel_scope.cancel()
    assert all(earlier != later for earlier, later in itertools.pairwise(it.learned))
    event(f"read: {bool(server.reads)}")


@settings(max_examples=examples(200))
@given(st.lists(st.tuples(steps, waits), max_size=25).map(lambda pairs: [step for pair in pairs for step in pair]), st.integers(0, 2**32))
def test_whatever_happened_after_a_quiet_time_what_was_told_last_is_what_there_is(history: list[Step], seed: int) -> None:
    trio.run(live, history, seed, clock=MockClock(autojump_threshold=0))
