"""The demo's command line: its options, the address of a Keycloak and the file with the password."""

import argparse
import os
from pathlib import Path

import pytest

from exchanger.commands.demo import DemoError
from exchanger.commands.demo.command import run_demo
from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.demo.keycloak.realm import KeycloakAddress, demo_realm, issuer_profile, read_address
from exchanger.commands.demo.keycloak.tokens import read_password
from exchanger.commands.demo.options import DemoOptions, add_arguments, options_of


def parsed(*arguments: str) -> DemoOptions:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return options_of(parser.parse_args(arguments))


def test_defaults_and_every_option() -> None:
    assert parsed() == DemoOptions(check=False, mode=FilterMode.EXT_AUTHZ, start_timeout=30)
    ports = "--envoy-port 1 --grpc-port 2 --metrics-port 3 --token-port 4 --upstream-port 65535 --console-port 6"
    keycloak = "--keycloak http://127.0.0.1:8080/ --keycloak-admin-password-file /run/password"
    given = parsed(*f"--check --mode ext_proc {ports} {keycloak} --start-timeout 1.5".split())
    address, file = KeycloakAddress(False, "127.0.0.1", 8080), Path("/run/password")
    assert given == DemoOptions(True, FilterMode.EXT_PROC, 1, 2, 3, 4, 65535, 6, address, file, 1.5)
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
        (None, "requires --keycloak"),
        *((KeycloakAddress(False, host, 80), "only over https") for host in ("idp.example.com", "10.0.0.1")),
        (KeycloakAddress(True, "idp.example.com", 443), ""),
        *((KeycloakAddress(False, host, 80), "") for host in ("::1", "127.9.9.9", "localhost")),
    ],
)
def test_administrator_password_needs_a_keycloak_over_https_or_loopback(address: KeycloakAddress | None, problem: str) -> None:
    problems = DemoOptions(keycloak=address, keycloak_admin_password_file=Path(os.devnull)).problems()
    assert len(problems) == bool(problem)
    assert problem in "".join(problems)


async def test_options_that_do_not_go_together_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert await run_demo(DemoOptions(keycloak_admin_password_file=Path(os.devnull))) == 2
    assert capsys.readouterr().err == "exchanger demo: --keycloak-admin-password-file requires --keycloak\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("https://idp.example.com", "https://idp.example.com"),
        ("https://IDP.example.com:443/auth/", "https://idp.example.com/auth"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://localhost:443", "http://localhost:443"),
    ],
)
def test_an_address_is_shown_as_keycloak_shows_it(text: str, shown: str) -> None:
    address = read_address(text)
    assert address is not None
    assert str(address) == shown
    assert issuer_profile(demo_realm(), address)["tokenEndpoint"] == f"{shown}/realms/exchanger-demo/protocol/openid-connect/token"


@pytest.mark.parametrize(
    "text",
    [
        *("", "127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http://:80", "http://a:0", "http://a:70000", "http://a:b"),
        *("http://alice:secret@a", "http://a?b", "http://a#b", "http://a b", "http://é", "http://[::1", "http://a\n"),
    ],
)
def test_anything_but_the_url_of_a_server_is_no_address(text: str) -> None:
    assert read_address(text) is None


def test_a_password_is_the_line_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    with pytest.raises(DemoError, match="No such file"):
        read_password(file)
    for data, password in ((b"secret", "secret"), (b"secret\n", "secret"), (b" secret \r\n", " secret ")):
        file.write_bytes(data)
        assert read_password(file) == password
    for data, reason in ((b"", "is empty"), (b"\n", "is empty"), (b"\xff", "it is not text")):
        file.write_bytes(data)
        with pytest.raises(DemoError, match=reason):
            read_password(file)
