"""An API server, or something before it, that answers what it was not asked, falls silent, or takes rights away.

Nothing of it may open what a policy denies, and nothing may close the service for longer than the trouble lasts.
"""

import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import attrs
import orjson
import pytest
import trio
from trio.testing import MockClock

from exchanger.kube.api import access
from exchanger.kube.api.client import connect
from exchanger.kube.api.resource import PolicyListWatches
from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.kube.settings import KubernetesSettings, ReflectorSettings
from exchanger.util.backoff import BackOffSettings
from exchanger.values.entry import DenyEntry
from exchanger.values.selector import parse_selector
from tests.kube.cluster import Cluster, Record, deny, following
from tests.kube.kubeconfig import origin_of, write_kubeconfig
from tests.kube.scripted_server import FAST, LAST_CHUNK, WATCH_HEAD, Received, answer, chunk, query, serving

PATIENCE_S: Final = 30.0
QUICK: Final = ReflectorSettings(
    back_off=BackOffSettings(first=0.02, cap=0.05),
    silence=1.5,
    patience=3.0,
    short_watch=(0.5, 0.6),
    short_silence=1.5,
    settled=0.2,
    accepted=5.0,
)
SELECTORS: Final = (parse_selector("policy=enabled"), parse_selector("enabled=true"))
KINDS: Final = {"namespaces": "Namespace", "configmaps": "ConfigMap"}


def metadata(name: str, version: int, labels: dict[str, str], **more: str) -> dict[str, object]:
    return {"name": name, "resourceVersion": str(version), "labels": labels, **more}


@attrs.define(eq=False)
class Api:
    """A scripted API server with one Namespace and its ConfigMaps, and what is wrong with it.

    ``reply``: what is said to everybody, before the connection ends; ``tampered`` makes another body of a list's; ``gone``: watches are
    answered with 410; ``silent``: they are taken, and say nothing.
    """

    reply: bytes | None = None
    tampered: Callable[[dict[str, object]], object] | None = None
    gone: bool = False
    silent: bool = False
    version: int = 10
    documents: dict[str, tuple[int, str]] = attrs.field(factory=dict)
    lies: int = 0
    watches: int = 0
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def put(self, name: str, text: str) -> None:
        self.version += 1
        self.documents[name] = (self.version, text)
        self.wake()

    def wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def script(self, request: Received, stream: trio.abc.Stream) -> None:
        resource = urlsplit(request.target).path.rpartition("/")[2]
        asked = query(request)
        if self.reply is not None:
            await stream.send_all(self.reply)
            await stream.aclose()
        elif resource not in KINDS:
            await stream.send_all(answer(b"ok"))
        elif "sendInitialEvents" in asked:
            await stream.send_all(answer({"kind": "Status", "message": "sendInitialEvents is forbidden"}, "422 Unprocessable Entity"))
        elif "watch" in asked:
            await self._watch(resource, int(asked["resourceVersion"]), stream)
        else:
            await stream.send_all(answer(self._list(resource)))

    def _list(self, resource: str) -> object:
        items = [self._object(resource, name) for name in (self.documents if resource == "configmaps" else ("team",))]
        body: dict[str, object] = {
            "kind": f"{KINDS[resource]}List",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": str(self.version)},
            "items": items,
        }
        if self.tampered is None:
            return body
        self.lies += 1
        return self.tampered(body)

    def _object(self, resource: str, name: str) -> dict[str, object]:
        if resource == "namespaces":
            return {"metadata": metadata(name, 1, {"policy": "enabled"})}
        version, text = self.documents[name]
        return {"metadata": metadata(name, version, {"enabled": "true"}, namespace="team"), "data": {"config.yaml": text}}

    async def _watch(self, resource: str, since: int, stream: trio.abc.Stream) -> None:
        self.watches += 1
        if self.gone:
            await stream.send_all(answer({"kind": "Status", "code": 410, "message": "too old resource version"}, "410 Gone"))
            return
        await stream.send_all(WATCH_HEAD)
        about = {"kind": KINDS[resource], "apiVersion": "v1"}
        while not self.fails():
            changed = self._changed
            if not self.silent:
                for name, (version, _) in tuple(self.documents.items()) if resource == "configmaps" else ():
                    if version > since:
                        await _tell(stream, "MODIFIED", {**about, **self._object(resource, name)})
                since = self.version
                await _tell(stream, "BOOKMARK", {**about, "metadata": {"resourceVersion": str(since)}})
            with trio.move_on_after(0.2):
                await changed.wait()
        await stream.aclose()

    def fails(self) -> bool:
        return self.gone or self.reply is not None


async def _tell(stream: trio.abc.Stream, what: str, about: dict[str, object]) -> None:
    await stream.send_all(chunk(orjson.dumps({"type": what, "object": about}) + b"\n"))


@contextlib.asynccontextmanager
async def followed(api: Api) -> AsyncGenerator[Record]:
    """Follow ``api`` from its first version on."""
    record = Record()
    async with serving(api.script) as server:
        connection = server.connection(FAST)
        settings = KubernetesSettings(*SELECTORS, reflector=QUICK)
        source = record.source(settings, PolicyListWatches(connection))
        with trio.fail_after(2 * PATIENCE_S):
            async with trio.open_nursery() as nursery:
                await nursery.start(source.run)
                yield record
                nursery.cancel_scope.cancel()
        connection.credentials.close()


HALF: Final = chunk(b'{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"99"},"items":[')
REPLIES: Final = {
    "401": answer({"kind": "Status"}, "401 Unauthorized"),
    "403": answer({"kind": "Status"}, "403 Forbidden"),
    "410": answer({"kind": "Status"}, "410 Gone"),
    "429": answer({"kind": "Status"}, "429 Too Many Requests", Retry_After="1"),
    "500": answer({"kind": "Status"}, "500 Internal Server Error"),
    "nothing": b"",
    "half a head": WATCH_HEAD[:30],
    "half a list": WATCH_HEAD + HALF,
    "half a list as if it were whole": WATCH_HEAD + HALF + LAST_CHUNK,
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
async def test_a_server_that_fails_opens_nothing_and_what_was_missed_meanwhile_is_in_force_after_it(reply: bytes) -> None:
    api = Api(documents={"p": (5, deny("/admin")), "q": (6, deny("/old"))})
    async with followed(api) as record:
        api.reply = reply
        api.put("q", deny("/new"))
        for resource in KINDS:
            await record.until(lambda: sum(f"failed {resource}" in said for said in record.said) >= 4, PATIENCE_S)  # noqa: B023 - asked at once
        assert record.denies("/old")
        api.reply = None
        await record.until(lambda: record.denies("/new") and record.passes("/old"), PATIENCE_S)
        assert all(isinstance(snapshot.match("h", "/admin", "GET"), DenyEntry) for snapshot in record.snapshots)


EMPTY: Final = {"metadata": {"resourceVersion": "99999999"}, "items": []}
LIES: Final[dict[str, Callable[[dict[str, object]], object]]] = {
    "a list of pods": lambda _: {"kind": "PodList", "apiVersion": "v1", **EMPTY},
    "a list of no kind": lambda _: EMPTY,
    "a list of no kind without items": lambda _: {**EMPTY, "items": None},
    "items that are null": lambda body: {**body, "items": None},
    "items that are missing": lambda body: {name: value for name, value in body.items() if name != "items"},
    "items that are an object": lambda body: {**body, "items": {}},
    "another version of the kind": lambda body: {**body, "apiVersion": "example.com/v1", "items": []},
    "a table": lambda _: {"kind": "Table", "apiVersion": "meta.k8s.io/v1", **EMPTY, "rows": []},
    "a status of success": lambda _: {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"},
    "one object": lambda body: {**body, "kind": str(body["kind"]).removesuffix("List"), "items": []},
    "a list without a version": lambda body: {**body, "metadata": {}, "items": []},
    "objects of another kind": lambda body: {**body, "items": [{"kind": "Pod", "metadata": metadata("p", 1, {}, namespace="team")}]},
}


@pytest.mark.parametrize("lie", LIES)
async def test_after_410_an_answer_about_something_else_opens_nothing(lie: str) -> None:
    api = Api(documents={"p": (5, deny("/admin"))})
    async with followed(api) as record:
        assert record.denies("/admin")
        api.tampered, api.gone = LIES[lie], True
        api.wake()
        before = api.lies
        await record.until(lambda: api.lies > before + 5, PATIENCE_S)
        assert record.denies("/admin")
        assert {said for said in record.said if said.endswith("malformed")} == {
            "failed configmaps: malformed",
            "failed namespaces: malformed",
        }
        assert "lost configmaps" in record.said
        api.tampered, api.gone = None, False
        api.put("q", deny("/new"))
        await record.until(lambda: record.denies("/new"), PATIENCE_S)
        assert all(isinstance(snapshot.match("h", "/admin", "GET"), DenyEntry) for snapshot in record.snapshots)


async def test_a_watch_that_is_taken_and_says_nothing_does_not_keep_an_old_policy() -> None:
    api = Api(documents={"p": (5, deny("/admin"))})
    async with followed(api) as record:
        api.silent = True
        for number in range(3):
            api.put("q", deny(f"/{number}"))
            await record.until(lambda: record.denies(f"/{number}"), PATIENCE_S)  # noqa: B023 - asked at once
        assert record.said.count("silent configmaps") == 1
        assert record.said.count("lost configmaps") == 1
        api.silent = False
        await record.until(lambda: record.said.count("connected configmaps") == 2, PATIENCE_S)
        assert record.denies("/admin")


async def test_a_token_file_that_is_empty_during_a_401_leaves_no_request_anonymous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "RENEWAL_PAUSE_S", 0.0)
    token = trio.Path(tmp_path / "token")

    async def script(request: Received, stream: trio.abc.Stream) -> None:
        known = request.headers.get("authorization")
        status = {"Bearer second": "200 OK", None: "403 Forbidden"}.get(known, "401 Unauthorized")
        await stream.send_all(answer({"kind": "Status", "message": "as asked"}, status))

    async with serving(script) as server:
        await token.write_text("first")
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", server.url, {"tokenFile": str(token)})
        async with connect(origin_of(kubeconfig)) as connection:
            await token.write_text("")
            for _ in range(3):
                found = await connection.get("/")
                assert isinstance(found, ApiFailure)
                assert found.kind is FailureKind.UNAUTHORIZED
            await token.write_text("second")
            assert isinstance(await connection.get("/"), dict)
        assert all(request.headers.get("authorization") for request in server.requests)


async def test_a_namespace_whose_rights_went_with_it_is_named_and_can_be_taken_out(autojump_clock: MockClock) -> None:
    cluster = Cluster()
    for name in ("one", "two"):
        cluster.put(name, "p", deny(f"/{name}"))
    async with following(cluster, namespaces=("one", "two"), max_staleness=60.0) as followed:
        record = followed.record
        cluster.delete("two", "p")
        cluster.server.forbid("two")
        await trio.sleep(3600.0)
        assert not record.is_open()
        assert [said for said in record.said if said.startswith("unreadable")] == [
            "unreadable two: needs list on configmaps in the namespace two"
        ]
        assert followed.source.named == (("one", False), ("two", True))
        followed.source.use_namespaces(("one",))
        await record.until(record.is_open, 10.0)
        assert record.denies("/one")
        assert record.passes("/two")
