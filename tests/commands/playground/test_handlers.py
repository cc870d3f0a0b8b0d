"""The playground's handlers, with a stand-in for service and Envoy."""

import json
from pathlib import Path

import pytest
import trio
import trio.testing

from exchanger.commands.demo.servers import echo
from exchanger.commands.playground.handlers import MAX_RUNS, RUN_S
from exchanger.commands.playground.policy_files import version_of
from exchanger.commands.scenarios.answer import ScenarioAnswer
from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.scenario import GatewayCall, OneRequest
from exchanger.commands.scenarios.tokens import Subject
from exchanger.net.http.message import Request, Response
from tests.commands.playground.labs import SAMPLE, YELLOW, bench
from tests.commands.scenarios.stand_in import DENIAL, EDIT, EQUAL, ONE, StandIn, deny

OPEN = OneRequest("open", "w", GatewayCall("h.example.com", "/orders", Subject.NONE), ScenarioAnswer(403))
PATIENCE = 30.0


async def test_scenarios_are_listed_without_tokens(tmp_path: Path) -> None:
    async with bench(tmp_path, deny) as lab:
        listed = (await lab.ask("GET", "/lab/scenarios")).json
        assert (listed["gateway"], listed["keycloak"]) == (lab.site.gateway, False)
        shown = {scenario["name"]: scenario for scenario in listed["scenarios"]}
        assert list(shown) == [scenario.name for scenario in SCENARIOS]
        assert {scenario["kind"] for scenario in listed["scenarios"]} == {"request", "equal", "edit"}
        assert (shown["coalescing"]["count"], shown["timeout"]["count"]) == (10, 1)
        assert shown["cors-preflight"]["request"]["headers"][0] == ["Origin", "https://app.example.com"]
        assert shown["yellow-success"]["expected"] == "200 exchanged for scope read:orders"
        assert f"{lab.site.gateway}/orders/1" in shown["yellow-success"]["curl"]
        assert not any(lab.site.subjects.token(subject) in json.dumps(listed) for subject in (Subject.VALID, Subject.EXPIRED))


async def test_a_scenario_is_run_and_checked(tmp_path: Path) -> None:
    async with bench(tmp_path, deny, (ONE, OPEN)) as lab:
        good, bad = await lab.ask("POST", "/lab/run", {"name": "one"}), await lab.ask("POST", "/lab/run", {"name": "open"})
        assert (good.status, good.json["ok"], good.json["got"]) == (200, True, "403 policy_denied")
        assert good.json["answer"]["body"] == '{"error":"policy_denied"}'
        assert good.json["tokens"]["sent"]["claims"]["sub"] == "alice"
        assert (bad.json["ok"], len(bad.json["details"]), bad.json["tokens"]["sent"]) == (False, 2, None)
        assert lab.lab.running == 0


async def test_gateway_receives_the_shown_trace_and_the_chosen_token(tmp_path: Path) -> None:
    seen: list[Request] = []

    async def gateway(request: Request) -> Response:
        seen.append(request)
        return await echo(request)

    own = {"token": "token-of-mine"}
    sent = {"host": "a.example.com", "path": "/b", "headers": [["X-A", "c"]]}
    async with bench(tmp_path, gateway, (ONE, EQUAL)) as lab:
        for path, fields in (("/lab/run", {"name": "one", **own}), ("/lab/request", {**sent, **own, "subject": "own"})):
            answered = await lab.ask("POST", path, fields)
            assert answered.json["tokens"] == {"sent": {"opaque": True}, "received": {"opaque": True}, "verification": None}
            assert "token-of-mine" not in json.dumps(answered.json)
            assert seen[-1].value("authorization") == "Bearer token-of-mine"
            assert seen[-1].value("traceparent").split("-")[1] == answered.json["trace_ids"][0]
        assert (seen[-1].method, seen[-1].target, seen[-1].value("host"), seen[-1].value("x-a")) == ("GET", "/b", "a.example.com", "c")
        for subject in (Subject.VALID, Subject.EXPIRED, Subject.NONE):
            answered = await lab.ask("POST", "/lab/request", {**sent, "subject": subject.value})
            assert answered.json["ok"] is None
            assert seen[-1].value("authorization").removeprefix("Bearer ") == lab.site.subjects.token(subject)
        skipped = (await lab.ask("POST", "/lab/run", {"name": "equal", **own})).json
        assert (skipped["ok"], skipped["got"].partition(":")[0]) == (None, "skipped")


async def test_unknown_names_and_malformed_bodies_are_refused_without_an_echo(tmp_path: Path) -> None:
    nonsense = (b"s3cret", {"s3cret": "s3cret"}, {"name": "s3cret", "text": 5, "token": 5, "host": "s3cret\r\n", "path": "s3cret"})
    async with bench(tmp_path, deny) as lab:
        assert (await lab.ask("POST", "/lab/run", {"name": "absent"})).status == 404
        for method, path in (("PUT", "/lab/policy"), ("POST", "/lab/policy/lint")):
            assert (await lab.ask(method, path, {"name": "../service.log", "text": ""})).status == 404
        assert (await lab.ask("POST", "/lab/policy/reset", {"name": "../service.log"})).status == 404
        for method, path in lab.lab.routes():
            for body in nonsense if method != "GET" else ():
                answered = await lab.ask(method, path, body)
                assert answered.status == 400
                assert "s3cret" not in json.dumps(answered.json)


async def test_policy_is_shown_checked_saved_and_put_back(tmp_path: Path) -> None:
    async with bench(tmp_path, deny) as lab:
        assert (await lab.ask("GET", "/lab/policy")).json == {
            "files": [{"name": name, "text": SAMPLE[name], "version": version_of(SAMPLE[name])} for name in sorted(SAMPLE)]
        }
        wrong = {"name": "yellow.yaml", "text": YELLOW.replace("demo, scope", "nobody, scope", 1)}
        problem = {
            "policy": "team-yellow/token-policy",
            "entry": 0,
            "line": 22,
            "column": 31,
            "code": "POL-1105",
            "reason": 'entries[0].exchange.issuerRef references unknown issuer profile "nobody"',
        }
        assert (await lab.ask("POST", "/lab/policy/lint", wrong)).json == {"documents": 1, "problems": [problem]}
        file = lab.site.policy / "yellow.yaml"
        assert file.read_text() == YELLOW
        saved = (await lab.ask("PUT", "/lab/policy", wrong)).json
        assert saved == {"saved": True, "active": False, "version": version_of(wrong["text"]), "problems": [problem]}
        assert file.read_text() == wrong["text"]
        assert (await lab.ask("POST", "/lab/policy/reset", {"name": "yellow.yaml"})).json == {"text": YELLOW, "version": version_of(YELLOW)}
        assert file.read_text() == YELLOW


async def test_a_file_is_made_listed_as_added_and_removed(tmp_path: Path) -> None:
    async with bench(tmp_path, deny) as lab:
        for name in ("../green.yaml", "green.txt"):
            refused = await lab.ask("POST", "/lab/policy", {"name": name})
            assert (refused.status, "must begin with" in refused.json["error"]) == (400, True)
        made = await lab.ask("POST", "/lab/policy", {"name": "green.yaml"})
        text = (lab.site.policy / "green.yaml").read_text()
        assert (made.status, made.json) == (200, {"text": text, "version": version_of(text), "active": False})
        assert (await lab.ask("POST", "/lab/policy", {"name": "green.yaml"})).status == 409
        listed = (await lab.ask("GET", "/lab/policy")).json["files"]
        assert [file["name"] for file in listed if file.get("added")] == ["green.yaml"]
        assert (await lab.ask("POST", "/lab/policy/lint", {"name": "green.yaml", "text": text})).json == {"documents": 1, "problems": []}
        saved = await lab.ask("PUT", "/lab/policy", {"name": "green.yaml", "text": "a: b\n", "version": version_of(text)})
        assert (saved.status, (lab.site.policy / "green.yaml").read_text()) == (200, "a: b\n")
        assert (await lab.ask("POST", "/lab/policy/reset", {"name": "green.yaml"})).json == {"removed": True}
        assert sorted(file.name for file in lab.site.policy.iterdir()) == sorted(SAMPLE)


async def test_a_save_is_answered_once_it_is_active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchanger.commands.playground.policy_files.EFFECT_S", PATIENCE)
    asked = 0

    async def revision() -> int | None:
        nonlocal asked
        await trio.lowlevel.checkpoint()
        asked += 1
        taken_up = asked > 5 and (tmp_path / "policy" / "yellow.yaml").read_text() == "a: b\n"
        return 8 if taken_up else 7

    async with bench(tmp_path, deny, revision=revision) as lab:
        saved = await lab.ask("PUT", "/lab/policy", {"name": "yellow.yaml", "text": "a: b\n"})
        assert (saved.json["active"], asked) == (True, 6)


async def test_oversized_or_concurrent_save_does_not_overwrite(tmp_path: Path) -> None:
    async with bench(tmp_path, deny) as lab:
        file = lab.site.policy / "yellow.yaml"
        longer = await lab.ask("PUT", "/lab/policy", {"name": "yellow.yaml", "text": "#" * 1_048_577})
        assert (longer.status, file.read_text()) == (400, YELLOW)
        file.write_text("theirs: a\n")
        mine = {"name": "yellow.yaml", "text": "mine: a\n"}
        assert (await lab.ask("PUT", "/lab/policy", mine | {"version": version_of(YELLOW)})).status == 409
        assert file.read_text() == "theirs: a\n"
        saved = await lab.ask("PUT", "/lab/policy", mine | {"version": version_of("theirs: a\n")})
        assert (saved.status, saved.json["version"], file.read_text()) == (200, version_of("mine: a\n"), "mine: a\n")
        for other in lab.site.policy.iterdir():
            other.unlink()
        lab.site.policy.rmdir()
        assert (await lab.ask("POST", "/lab/policy/reset", {"name": "yellow.yaml"})).status == 500


async def test_save_waits_for_a_scenario_that_edits_and_is_kept(tmp_path: Path) -> None:
    running, go_on = trio.Event(), trio.Event()
    stand_in: StandIn | None = None

    async def gateway(request: Request) -> Response:
        assert stand_in is not None
        running.set()
        await go_on.wait()
        return await stand_in.exchange(request)

    mine = YELLOW + "# mine\n"
    async with bench(tmp_path, gateway, (EDIT,)) as lab, trio.open_nursery() as nursery:
        stand_in = StandIn(lab.site.policy)
        results: list[object] = []

        async def run() -> None:
            results.append((await lab.ask("POST", "/lab/run", {"name": "edit"})).json["ok"])

        async def save() -> None:
            results.append((await lab.ask("PUT", "/lab/policy", {"name": "yellow.yaml", "text": mine})).json["saved"])

        async def open_editor() -> None:
            files = (await lab.ask("GET", "/lab/policy")).json["files"]
            results.append("edited" not in next(file["text"] for file in files if file["name"] == "yellow.yaml"))

        nursery.start_soon(run)
        with trio.fail_after(PATIENCE):
            await running.wait()
            nursery.start_soon(open_editor)
            nursery.start_soon(save)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert "edited" in (lab.site.policy / "yellow.yaml").read_text()
            go_on.set()
            while len(results) < 3:  # noqa: ASYNC110 - all end by themselves
                await trio.sleep(0.01)
        assert results == [True, True, True]
        assert (lab.site.policy / "yellow.yaml").read_text() == mine


async def test_only_a_few_run_at_once(tmp_path: Path) -> None:
    waiting, go_on = 0, trio.Event()

    async def gateway(_request: Request) -> Response:
        nonlocal waiting
        waiting += 1
        await go_on.wait()
        return DENIAL

    async with bench(tmp_path, gateway, (ONE,)) as lab, trio.open_nursery() as nursery:
        for _ in range(MAX_RUNS):
            nursery.start_soon(lab.ask, "POST", "/lab/run", {"name": "one"})
        with trio.fail_after(PATIENCE):
            while waiting < MAX_RUNS:  # noqa: ASYNC110 - there is no event for the last of several
                await trio.sleep(0.01)
        assert lab.lab.running == MAX_RUNS
        assert (await lab.ask("POST", "/lab/run", {"name": "one"})).status == 429
        assert (await lab.ask("POST", "/lab/request", {"host": "h", "path": "/"})).status == 429
        go_on.set()
    assert lab.lab.running == 0


async def test_run_over_its_time_limit_ends_and_restores_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchanger.commands.playground.handlers.RUN_S", 0.2)
    assert RUN_S >= 10

    async def gateway(_request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    async with bench(tmp_path, gateway, (EDIT,)) as lab:
        with trio.fail_after(PATIENCE):
            assert (await lab.ask("POST", "/lab/run", {"name": "edit"})).status == 504
        assert (lab.site.policy / "yellow.yaml").read_text() == YELLOW
        assert lab.lab.running == 0
