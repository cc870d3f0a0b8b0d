"""The demo's console as people and their browsers see it, with the service and a real Envoy behind it."""

import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from exchanger.commands.demo.processes import Child
from exchanger.commands.demo.service import SERVICE_COMMAND, sample_policy, service_environment, violet_policy, wrong_policy
from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.client import NoAnswerError, fetch
from exchanger.net.http.message import Request
from tests.commands.scenarios.stand_in import write_sample_policy
from tests.e2e.conftest import SharedDemo
from tests.e2e.gateway import PATIENT_DEMO
from tests.e2e.test_demo import ENDING, TRIES, WHOLE_RUN, demo
from tests.operations.console.running import Peer, opening
from tests.ports import free_port

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for left-over processes in /proc"),
]

ANSWER = 60.0  # seconds for one answer: a run of the lab may take half of it


@attrs.define(eq=False)
class Front:
    """The console of a demo, asked as its page asks it."""

    port: int

    async def ask(self, method: str, path: str, body: object = None, *headers: tuple[str, str]) -> tuple[int, Any]:
        data = b"" if body is None else json.dumps(body).encode()
        kind = (("Content-Type", "application/json"),) if data else ()
        asked = Request(method, path, (("Host", f"127.0.0.1:{self.port}"), *kind, *headers), data)
        response = await fetch(self.port, asked, timeout=ANSWER)
        return response.status, json.loads(response.body)

    async def run(self, name: str, **fields: str) -> Any:
        """Run a scenario, at most ``TRIES`` times, until it is as expected."""
        result: Any = None
        for _ in range(TRIES):
            status, result = await self.ask("POST", "/lab/run", {"name": name, **fields})
            assert status == 200, result
            if result["ok"] is not False:
                break
        return result

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Peer]:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            peer = Peer(stream)
            await peer.send(opening(host=f"127.0.0.1:{self.port}"))
            assert (await peer.head()).startswith(b"HTTP/1.1 101 ")
            assert (await peer.message("hello"))["items"]
            yield peer


async def found_in_the_stream(peer: Peer, wanted: set[str]) -> dict[str, Any]:
    """Read the stream until it has had every request of these traces; return its items by trace."""
    found: dict[str, Any] = {}
    while wanted - found.keys():
        found.update({item["trace_id"]: item for item in (await peer.message("decisions"))["items"]})
    return found


async def test_every_console_scenario_passes_and_its_tokens_are_in_the_stream(each_demo: SharedDemo) -> None:
    at = Front(each_demo.console)
    async with at.watching() as peer:
        _, listed = await at.ask("GET", "/lab/scenarios")
        assert [scenario["name"] for scenario in listed["scenarios"]] == [scenario.name for scenario in SCENARIOS]
        results = {scenario.name: await at.run(scenario.name) for scenario in SCENARIOS}
        assert {name: result["details"] for name, result in results.items() if result["ok"] is not True} == {}
        assert len(results["coalescing"]["trace_ids"]) == 10
        traces = {trace for result in results.values() for trace in result["trace_ids"]}
        items = await found_in_the_stream(peer, traces)
        (trace,) = results["yellow-success"]["trace_ids"]
        shown, told = items[trace]["tokens"], results["yellow-success"]["tokens"]
        assert (shown["subject"], shown["exchanged"]) == (told["sent"], told["received"])
        assert told["received"]["claims"]["scope"] == "read:orders"
        assert items[trace]["asked_by"] == each_demo.mode.value
        (trace,) = results["missing-bearer"]["trace_ids"]
        assert items[trace]["response"]["status"] == 401


async def test_a_policy_is_edited_and_the_next_request_shows_it(ext_authz_demo: SharedDemo) -> None:
    at = Front(ext_authz_demo.console)
    _, policy = await at.ask("GET", "/lab/policy")
    texts = {file["name"]: file["text"] for file in policy["files"]}
    assert list(texts) == sorted(file.name for file in (*sample_policy(), *wrong_policy(), violet_policy()))
    for name in (file.name for file in sample_policy()):
        assert await at.ask("POST", "/lab/policy/lint", {"name": name, "text": texts[name]}) == (200, {"documents": 1, "problems": []})

    wrong = texts["yellow.yaml"].replace("issuerRef: demo", "issuerRef: nobody", 1)
    _, linted = await at.ask("POST", "/lab/policy/lint", {"name": "yellow.yaml", "text": wrong})
    assert [(problem["line"], problem["column"], problem["entry"]) for problem in linted["problems"]] == [(22, 31, 0)]
    _, saved = await at.ask("PUT", "/lab/policy", {"name": "yellow.yaml", "text": wrong})
    assert (saved["active"], saved["problems"]) == (True, linted["problems"])
    assert await next_answer(at) == "500 server_error"
    _, known = await at.ask("GET", "/api/policy/document?namespace=team-yellow&name=token-policy")
    assert [problem["reason"] for problem in known["problems"]] == [problem["reason"] for problem in linted["problems"]]

    edited = texts["yellow.yaml"].replace('scope: "read:orders"', 'scope: "read:mine"')
    _, saved = await at.ask("PUT", "/lab/policy", {"name": "yellow.yaml", "text": edited, "version": saved["version"]})
    assert (saved["active"], saved["problems"]) == (True, [])
    assert await next_answer(at) == "200 exchanged for scope read:mine"
    _, was = await at.ask("POST", "/lab/policy/reset", {"name": "yellow.yaml"})
    assert was["text"] == texts["yellow.yaml"]
    assert await next_answer(at) == "200 exchanged for scope read:orders"


async def next_answer(at: Front) -> str:
    _, result = await at.ask("POST", "/lab/request", {"host": "yellow.example.com", "path": "/orders/1", "subject": "valid"})
    return str(result["got"])


async def test_own_tokens_go_through_and_come_back_in_nothing(ext_authz_demo: SharedDemo) -> None:
    own, at = "opaque-token-of-mine", Front(ext_authz_demo.console)
    refused = logs_below(ext_authz_demo.folder).count(b"TXE-2001")
    async with at.watching() as peer:
        run = await at.run("unmatched", token=own)
        assert (run["ok"], run["tokens"]["sent"], run["tokens"]["received"]) == (True, {"opaque": True}, {"opaque": True})
        sent = {"host": "red.example.com", "path": "/inventory", "subject": "own", "token": own}
        _, free = await at.ask("POST", "/lab/request", sent)
        assert free["got"] == "400 invalid_request TXE-2001"
        await found_in_the_stream(peer, {*run["trace_ids"], *free["trace_ids"]})
        assert own.encode() not in bytes(peer.received)
        assert own not in json.dumps([run, free])
    with trio.fail_after(WHOLE_RUN):
        while (logged := logs_below(ext_authz_demo.folder)).count(b"TXE-2001") == refused:  # noqa: ASYNC110 - written by another process
            await trio.sleep(0.05)
    assert own.encode() not in logged


def logs_below(folder: Path) -> bytes:
    return b"".join(log.read_bytes() for log in folder.glob("*/*.log"))


async def test_other_pages_and_other_names_may_not_ask(ext_authz_demo: SharedDemo) -> None:
    at = Front(ext_authz_demo.console)
    assert (await at.ask("POST", "/lab/run", {"name": "unmatched"}, ("Origin", "http://evil.example")))[0] == 403
    assert (await at.ask("POST", "/lab/run", {"name": "unmatched"}, ("Sec-Fetch-Site", "cross-site")))[0] == 403
    status, _ = await at.ask("POST", "/lab/run", {"name": "unmatched"}, ("Origin", f"http://127.0.0.1:{at.port}"))
    assert status == 200
    rebound = Request("GET", "/lab/policy", (("Host", f"rebound.example:{at.port}"),))
    assert (await fetch(at.port, rebound, timeout=ANSWER)).status == 421


async def test_sigint_ends_the_demo_despite_a_watcher_and_a_pending_run(tmp_path: Path) -> None:
    async with demo(tmp_path, program=PATIENT_DEMO) as running, trio.open_nursery() as nursery:
        await running.until("Ctrl-C stops everything")
        at = Front(running.console)
        async with at.watching():
            nursery.start_soon(abandoned_run, at)
            await trio.sleep(0.2)
            started = time.monotonic()
            running.process.send_signal(signal.SIGINT)
            assert await running.end(ENDING) == 0
            assert time.monotonic() - started < ENDING
            running.assert_nothing_is_left()
        nursery.cancel_scope.cancel()


async def abandoned_run(at: Front) -> None:
    """Start a scenario whose answer takes half a second, and do not mind how it ends."""
    try:
        await at.run("timeout")
    except NoAnswerError:
        await trio.sleep_forever()


@pytest.mark.parametrize(("command", "shows"), [(SERVICE_COMMAND, True), ((sys.executable, "-m", "exchanger", "serve"), False)])
async def test_only_the_demo_s_own_command_shows_what_is_in_tokens(command: tuple[str, ...], shows: bool, tmp_path: Path) -> None:
    grpc, metrics, console = (free_port() for _ in range(3))
    write_sample_policy(tmp_path / "policy")
    (tmp_path / "issuers.json").write_text('{"issuers": []}')
    environment = service_environment(
        grpc_port=grpc, metrics_port=metrics, policy=tmp_path / "policy", issuers=tmp_path / "issuers.json", console_port=console
    )
    service = Child("service", command, environment, tmp_path / "service.log")
    with trio.fail_after(WHOLE_RUN):
        async with trio.open_nursery() as nursery:
            await nursery.start(service.run)
            while (about := await about_of(console)) is None:  # noqa: ASYNC110 - nothing tells when a process listens
                await trio.sleep(0.05)
            assert await service.stop() == 0
    assert (about["shows_tokens"], about["mode"], about["lab"]) == (shows, "service", False)


async def about_of(port: int) -> Any:
    try:
        response = await fetch(port, Request("GET", "/api/about", (("Host", f"127.0.0.1:{port}"),)), timeout=ANSWER)
    except NoAnswerError:
        return None
    return json.loads(response.body)
