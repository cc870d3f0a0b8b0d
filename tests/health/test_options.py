"""What ``exchanger health`` can be told."""

import argparse
from pathlib import Path

import pytest

from exchanger.health.options import HealthOptions, add_arguments, options_of


def parsed(*arguments: str) -> HealthOptions:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return options_of(parser.parse_args(arguments))


def test_without_options_the_pods_own_service_is_asked() -> None:
    assert parsed() == HealthOptions(("127.0.0.1", 3001), "", 2.0)


def test_each_option_is_read() -> None:
    given = parsed("--address", "[::1]:1", "--service", "a.B", "--timeout", "500ms", "--tls", "--ca-file", "ca", "--server-name", "n")
    assert given == HealthOptions(("::1", 1), "a.B", 0.5, tls=True, ca_file=Path("ca"), server_name="n")


@pytest.mark.parametrize("arguments", [("--ca-file", "a"), ("--cert-file", "a"), ("--key-file", "a"), ("--server-name", "a")])
def test_an_option_of_tls_means_tls(arguments: tuple[str, str]) -> None:
    assert parsed(*arguments).tls


def test_no_host_is_this_one() -> None:
    assert parsed("--address", ":3001").address == ("127.0.0.1", 3001)


@pytest.mark.parametrize(
    "arguments", [("--address", "3001"), ("--timeout", "soon"), ("--timeout", "0"), ("--timeout",), ("surplus",), ("--no-such",)]
)
def test_a_wrong_option_is_status_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(*arguments)
    assert ended.value.code == 2
    assert "error" in capsys.readouterr().err
