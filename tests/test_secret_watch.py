"""How an issuer's Secret is followed: by a watch, and by reading where that is not allowed."""

from collections.abc import Callable

import attrs
import trio
from trio.testing import MockClock

from exchanger.issuers.polling import JITTER, POLL_S
from exchanger.issuers.secrets import SecretData, SecretFault, SecretName, SecretProblem, secret_data
from exchanger.kube.list_watch import ApiFailure, FailureKind, ListWatch
from exchanger.secret_reader import SecretState
from exchanger.secret_watch import WATCH_AGAIN_S, WatchingSecrets, WatchingStatistics
from tests.kube.cluster import REFUSED
from tests.kube.fake_api_server import FakeApiServer, Verb
from tests.kube.fake_list_watch import FakeResource

OAUTH = SecretName("team", "issuer-oauth")
MISSING = SecretProblem(SecretFault.MISSING, "there is no Secret team/issuer-oauth")
UNREACHABLE = SecretProblem(SecretFault.UNREACHABLE, "the API server did not give it: unreachable")
FORBIDDEN = SecretProblem(SecretFault.FORBIDDEN, "needs list and watch on secrets/issuer-oauth in the namespace team")
NO_RIGHT = ApiFailure(FailureKind.FORBIDDEN, 403, "secrets is forbidden")


@attrs.define(eq=False)
class Server:
    """Secrets of one namespace; ``selects`` or, like no real server, gives all of them whatever was asked for."""

    server: FakeApiServer = attrs.field(factory=FakeApiServer)
    selects: bool = True
    may_get: bool = True
    reads: int = 0
    _resource: FakeResource[SecretState] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._resource = FakeResource(self.server, "secrets")

    def put(self, value: str, name: str = OAUTH.name) -> SecretData:
        data = secret_data(value, {"client_secret": "Y2FuYXJ5"})
        self._resource.put(name, data, namespace=OAUTH.namespace, labels={"name": name})
        return data

    def delete(self, name: str = OAUTH.name) -> None:
        self._resource.delete(name, namespace=OAUTH.namespace)

    def list_watch(self, secret: SecretName, /) -> ListWatch[SecretState]:
        return self._resource.list_watch(
            namespace=secret.namespace, selects=lambda labels: not self.selects or labels["name"] == secret.name
        )

    async def read(self, secret: SecretName, /) -> SecretState:
        await trio.lowlevel.checkpoint()
        self.reads += 1
        if not self.may_get:
            return FORBIDDEN
        found = [stored.value for (_, key), stored in self.server.objects.items() if key.name == secret.name]
        return found[0] if found else MISSING


@attrs.define(eq=False)
class Follower:
    server: Server
    secrets: WatchingSecrets
    learned: list[SecretState] = attrs.field(factory=list)

    async def run(self) -> None:
        await self.secrets.follow(OAUTH, self.learned.append)


async def following(server: Server, *steps: Callable[[], object], pause: float = 1.0) -> Follower:
    """Follow for ``pause`` seconds, and again after each step; nothing may be left afterwards."""
    it = Follower(server, WatchingSecrets(server))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        await trio.sleep(pause)
        for step in steps:
            step()
            await trio.sleep(pause)
        nursery.cancel_scope.cancel()
    assert server.server.watchers == []
    assert it.secrets.statistics() == WatchingStatistics(0, 0)
    return it


async def test_each_version_comes_as_it_is_written(autojump_clock: MockClock) -> None:
    server = Server()
    first = server.put("1")
    it = await following(server, lambda: server.put("2"), server.delete, lambda: server.put("3"), pause=0.1)
    assert it.learned == [first, secret_data("2", {"client_secret": "Y2FuYXJ5"}), MISSING, secret_data("3", {"client_secret": "Y2FuYXJ5"})]
    assert server.reads == 0


async def test_one_that_is_missing_is_said_once_and_learned_when_it_is_there(autojump_clock: MockClock) -> None:
    server = Server()
    it = await following(server, lambda: server.put("1"), pause=1000.0)
    assert it.learned[0] == MISSING
    assert len(it.learned) == 2


async def test_others_of_the_namespace_are_nobodys_business(autojump_clock: MockClock) -> None:
    server = Server(selects=False)
    server.put("0", "other")
    first = server.put("1")
    it = await following(server, lambda: server.put("2", "other"), lambda: server.delete("other"))
    assert it.learned == [first]


async def test_an_outage_at_the_start_is_told_and_a_later_one_is_not(autojump_clock: MockClock) -> None:
    server = Server()
    first = server.put("1")
    server.server.failing = REFUSED
    it = await following(server, server.server.heal, server.server.stop, server.server.heal, pause=300.0)
    assert it.learned == [UNREACHABLE, first]


async def test_without_the_right_to_watch_it_is_read(autojump_clock: MockClock) -> None:
    server = Server()
    first = server.put("1")
    server.server.fail(NO_RIGHT, times=float("inf"))
    it = await following(server, lambda: server.put("2"), pause=POLL_S * (1 + JITTER))
    assert [type(found) for found in it.learned] == [SecretData, SecretData]
    assert it.learned[0] == first
    assert server.reads >= 2
    assert len(server.server.requests) == 1


async def test_a_right_that_is_given_later_is_used(autojump_clock: MockClock) -> None:
    server = Server(may_get=False)
    server.put("1")
    server.server.fail(NO_RIGHT)
    it = await following(server, lambda: server.put("2"), pause=WATCH_AGAIN_S + 1)
    assert it.learned == [FORBIDDEN, secret_data("1", {"client_secret": "Y2FuYXJ5"}), secret_data("2", {"client_secret": "Y2FuYXJ5"})]
    assert [request.verb for request in server.server.requests].count(Verb.WATCH) >= 2
