"""The gateways that ask over HTTP: what a demo makes of the guides' configurations, what it expects of denials, and missing programs."""

import importlib.resources
import re
import shutil
import subprocess
from pathlib import Path

import attrs
import pytest

from exchanger.authz.http_authz.dialects import AUTH_REQUEST, ENVOY, FORWARD_AUTH
from exchanger.commands.demo.command import run_demo
from exchanger.commands.demo.envoy import FilterMode, find_envoy
from exchanger.commands.demo.gateways.kinds import HTTP_GATEWAYS, GatewayKind, GatewayPlaces, HttpGateway, find_program, with_texts
from exchanger.commands.demo.options import DemoOptions
from exchanger.commands.demo.reference.setup import reference_setup
from exchanger.commands.scenarios.answer import Reached
from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.expectation import ExpectedAnswer
from exchanger.commands.scenarios.scenario import EqualRequests, LooseRequest, OneRequest, PolicyEdit, Scenario
from exchanger.model.secret import Secret
from tests.tools import find_tool

SECRET = "a-secret-of-the-demo"
# Ports that have those of the guides in them.
PLACES = GatewayPlaces(listen=33004, service=38081, upstream=48080, secret=Secret(SECRET))
each_gateway = pytest.mark.parametrize("kind", HTTP_GATEWAYS)


def written(kind: GatewayKind, folder: Path, program: str = "program") -> tuple[str, tuple[str, ...], dict[str, str]]:
    """Return the configuration that a demo writes, the command, and its variables."""
    gateway = HTTP_GATEWAYS[kind]
    process = gateway.start(program, folder, PLACES)
    config = "".join((folder / name).read_text() for name in files(kind))
    return config, process.command, dict(process.variables)


def files(kind: GatewayKind) -> tuple[str, ...]:
    return ("traefik-static.yaml", "traefik.yaml") if kind is GatewayKind.TRAEFIK else (HTTP_GATEWAYS[kind].guide,)


def guides_text(kind: GatewayKind) -> str:
    folder = importlib.resources.files("exchanger.commands.demo.gateways")
    return "".join((folder / name).read_text("utf-8") for name in files(kind))


@each_gateway
def test_the_demos_configuration_is_the_guides_but_for_places_and_hosts(kind: GatewayKind, tmp_path: Path) -> None:
    config, guides = written(kind, tmp_path)[0], guides_text(kind)
    assert {str(port): config.count(str(port)) for port in (33004, 38081, 48080)} == {
        "33004": guides.count("8080"),
        "38081": guides.count("3004"),
        "48080": guides.count("8081"),
    }
    assert "api.example.com" not in config
    assert "/etc/" not in config
    added, removed = (set(one.splitlines()) - set(other.splitlines()) for one, other in ((config, guides), (guides, config)))
    assert max(len(added), len(removed)) <= 16
    # What asks, and what becomes of the answer, is as in the guide.
    for word in (
        "auth_request",
        "X-Original",
        "X-Forwarded",
        "$exchanged",
        "copy_headers",
        "authResponse",
        "trustForward",
        "aliasHeaders",
        "middlewares:",
        "failure_mode",
        "allowed_",
        "path_prefix",
        "@none",
    ):
        assert not [line for line in added | removed if word in line], word


@each_gateway
def test_demo_gateway_listens_on_loopback_and_hides_its_secret(kind: GatewayKind, tmp_path: Path) -> None:
    config, command, variables = written(kind, tmp_path)
    listening = {
        GatewayKind.ENVOY_HTTP: ["address: {socket_address: {address: 127.0.0.1, port_value: 33004}}"],
        GatewayKind.NGINX: ["listen 127.0.0.1:33004 default_server;", "listen 127.0.0.1:33004;"],
        GatewayKind.CADDY: ["http://:33004 {", "bind 127.0.0.1"],
        GatewayKind.TRAEFIK: ["address: 127.0.0.1:33004"],
    }
    assert [line.strip() for line in config.splitlines() if re.search(r"listen |33004|bind", line)] == listening[kind]
    assert SECRET not in " ".join(command)
    kept = "".join(file.read_text() for file in tmp_path.iterdir()) + variables.get("EXCHANGER_SECRET", "")
    assert kept.count(SECRET) == 1
    assert SECRET not in repr(HTTP_GATEWAYS[kind].start("program", tmp_path, PLACES)) + repr(PLACES)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        pytest.param(GatewayKind.NGINX, ("-t",), marks=pytest.mark.nginx),
        pytest.param(GatewayKind.CADDY, (), marks=pytest.mark.caddy),
        pytest.param(GatewayKind.ENVOY_HTTP, ("--mode", "validate"), marks=pytest.mark.envoy),
    ],
)
def test_the_gateway_accepts_the_configuration(kind: GatewayKind, options: tuple[str, ...], tmp_path: Path) -> None:
    program = find_envoy() if kind is GatewayKind.ENVOY_HTTP else str(find_tool(kind.value))
    _, command, variables = written(kind, tmp_path, program)
    command = tuple("validate" if word == "run" and kind is GatewayKind.CADDY else word for word in command)
    done = subprocess.run((*command, *options), env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_text_that_is_not_in_the_configuration_is_an_error() -> None:
    with pytest.raises(ValueError, match="the configuration has no 'b'"):
        with_texts("a", {"a": "x", "b": "y"})


def expectation(scenario: Scenario) -> tuple[int, bool]:
    """Return the status that ``scenario`` expects, and whether the upstream answers."""
    assert not isinstance(scenario, LooseRequest)
    return scenario.expected.status, scenario.expected.upstream is not Reached.NOT


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_what_the_upstream_answers_is_expected_through_each_gateway(scenario: Scenario) -> None:
    status, reaches = expectation(scenario)
    for gateway in HTTP_GATEWAYS.values():
        expected = gateway.passed_on(scenario)
        assert (expected.name, expected.watch, expected.call) == (scenario.name, scenario.watch, scenario.call)
        if reaches:
            assert (status, expected) == (200, scenario)
        else:
            assert isinstance(expected, OneRequest | LooseRequest)
            assert expected.expected.status == gateway.dialect.status(status) != 200


def denial(name: str) -> OneRequest:
    (found,) = (scenario for scenario in SCENARIOS if scenario.name == name)
    assert isinstance(found, OneRequest)
    return found


def test_denials_are_expected_as_the_gateway_passes_them_on() -> None:
    asked, broken, refused = denial("missing-bearer"), denial("malformed"), denial("invalid-target")
    by_http, nginx, caddy = (HTTP_GATEWAYS[kind] for kind in (GatewayKind.ENVOY_HTTP, GatewayKind.NGINX, GatewayKind.CADDY))
    assert (by_http.dialect, nginx.dialect, caddy.dialect) == (ENVOY, AUTH_REQUEST, FORWARD_AUTH)
    assert [caddy.passed_on(one) for one in (asked, broken, refused)] == [asked, broken, refused]
    assert by_http.passed_on(broken) == attrs.evolve(broken, expected=attrs.evolve(broken.expected, status=403))
    assert [by_http.passed_on(one) for one in (asked, refused)] == [asked, refused]
    assert [nginx.passed_on(one).expected for one in (asked, broken, refused)] == [
        ExpectedAnswer(401, challenge='Bearer realm="exchanger-demo", scope="read:orders"'),
        ExpectedAnswer(403),
        ExpectedAnswer(403),
    ]


def test_other_kinds_of_scenarios_are_expected_unchanged() -> None:
    for scenario in (scenario for scenario in SCENARIOS if isinstance(scenario, EqualRequests | PolicyEdit)):
        assert expectation(scenario) == (200, True)
        assert {gateway.passed_on(scenario) for gateway in HTTP_GATEWAYS.values()} == {scenario}


def test_reference_denials_are_expected_as_the_gateway_passes_them_on() -> None:
    def expected(gateway: HttpGateway) -> list[ExpectedAnswer]:
        found = [gateway.passed_on(scenario).expected for scenario in reference_setup(1).scenarios]
        return [expected for expected in found if isinstance(expected, ExpectedAnswer)]

    own = expected(HTTP_GATEWAYS[GatewayKind.CADDY])
    assert own == [scenario.expected for scenario in reference_setup(1).scenarios]
    by_http, nginx = (expected(HTTP_GATEWAYS[kind]) for kind in (GatewayKind.ENVOY_HTTP, GatewayKind.NGINX))
    assert by_http == [attrs.evolve(one, status=403 if one.status == 500 else one.status) for one in own]
    assert nginx == [
        one if one.status == 200 else attrs.evolve(one, status=one.status if one.status == 401 else 403, error="") for one in own
    ]
    assert {one.status for one in own if one.error} >= {400, 401, 403, 500}


@pytest.mark.parametrize("kind", [GatewayKind.NGINX, GatewayKind.CADDY, GatewayKind.TRAEFIK])
async def test_without_its_program_the_message_says_what_to_install(
    kind: GatewayKind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("exchanger.commands.demo.gateways.kinds._ALSO_IN", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await run_demo(DemoOptions(gateway_kind=kind)) == 1
    name, program = HTTP_GATEWAYS[kind].name, kind.value
    said = capsys.readouterr().err
    assert said.startswith(f"exchanger demo: --gateway-kind {program} needs {name}: install it (")
    assert said.endswith(f"), or put `{program}` on the PATH\n")
    (tmp_path / kind.value).write_text("#!/bin/sh\n")
    (tmp_path / kind.value).chmod(0o700)
    assert find_program(kind) == shutil.which(kind.value)


async def test_a_gateway_that_asks_over_http_has_no_grpc_filter(capsys: pytest.CaptureFixture[str]) -> None:
    assert await run_demo(DemoOptions(gateway_kind=GatewayKind.NGINX, mode=FilterMode.EXT_PROC)) == 2
    assert capsys.readouterr().err == "exchanger demo: --mode is about Envoy's gRPC filters; --gateway-kind nginx asks over HTTP\n"
