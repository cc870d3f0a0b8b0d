"""The demo's command line."""

import argparse
import os
from pathlib import Path

import pytest

from exchanger.demo.command import run_demo
from exchanger.demo.envoy import Mode
from exchanger.demo.keycloak.realm import KeycloakAddress
from exchanger.demo.options import DemoOptions, add_arguments, options_of


def parsed(*arguments: str) -> DemoOptions:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return options_of(parser.parse_args(arguments))


def test_defaults_and_every_option() -> None:
    assert parsed() == DemoOptions(check=False, mode=Mode.EXT_AUTHZ, start_timeout=30)
    ports = "--envoy-port 1 --grpc-port 2 --metrics-port 3 --token-port 4 --upstream-port 65535 --console-port 6"
    keycloak = "--keycloak http://127.0.0.1:8080/ --keycloak-admin-password-file /run/password"
    given = parsed(*f"--check --mode ext_proc {ports} {keycloak} --start-timeout 1.5".split())
    address, file = KeycloakAddress(False, "127.0.0.1", 8080), Path("/run/password")
    assert given == DemoOptions(True, Mode.EXT_PROC, 1, 2, 3, 4, 65535, 6, address, file, 1.5)
    assert given.problems() == ()


@pytest.mark.parametrize(
    "flags",
    [
        *(("--envoy-port", port) for port in ("65536", "-1", "http", "²")),
        *(("--start-timeout", seconds) for seconds in ("0", "nan", "inf", "soon")),
        ("--mode", "ext-proc"),
        ("--keycloak", "http://admin:secret@127.0.0.1:8080"),
        ("--unknown",),
    ],
)
def test_wrong_values_are_usage_errors_that_repeat_no_credentials(flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(*flags)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert flags[0] in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        (None, "goes with --keycloak"),
        (KeycloakAddress(False, "idp.example.com", 80), "https alone"),
        (KeycloakAddress(True, "idp.example.com", 443), ""),
        (KeycloakAddress(False, "::1", 80), ""),
    ],
)
def test_the_administrators_password_needs_a_keycloak_and_a_safe_way_to_it(address: KeycloakAddress | None, problem: str) -> None:
    problems = DemoOptions(keycloak=address, keycloak_admin_password_file=Path(os.devnull)).problems()
    assert len(problems) == bool(problem)
    assert problem in "".join(problems)


async def test_options_that_do_not_go_together_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert await run_demo(DemoOptions(keycloak_admin_password_file=Path(os.devnull))) == 2
    assert capsys.readouterr().err == "exchanger demo: --keycloak-admin-password-file goes with --keycloak\n"
