"""What ``exchanger scenarios`` can be told."""

import argparse
from pathlib import Path

import pytest

from exchanger.scenarios.options import Endpoint, ScenariosOptions, add_arguments, options_of


def options(*arguments: str) -> ScenariosOptions:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return options_of(parser.parse_args(arguments))


def test_defaults_and_every_option() -> None:
    assert options() == ScenariosOptions()
    given = options(
        *("--base-url", "https://[::1]:8443/", "--resolve", "[::2]", "--ca-file", "ca.pem", "--file", "f.yaml"),
        *("--token-env", "TOKEN", "--stats-url", "http://127.0.0.1:5/stats", "--timeout", "1.5", "--list", "--json", "--only", "a", "b"),
    )
    assert given == ScenariosOptions(
        base_url=Endpoint(secured=True, host="::1", port=8443),
        resolve="::2",
        file=Path("f.yaml"),
        token_env="TOKEN",
        only=("a", "b"),
        list=True,
        json=True,
        timeout=1.5,
        ca_file=Path("ca.pem"),
        stats_url=Endpoint(secured=False, host="127.0.0.1", port=5),
    )


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("http://gateway.example.com", "http://gateway.example.com:80"),
        ("https://gateway.example.com/", "https://gateway.example.com:443"),
        ("HTTP://LOCALHOST:10000", "http://localhost:10000"),
    ],
)
def test_a_base_url_is_scheme_host_and_port(url: str, endpoint: str) -> None:
    assert str(options("--base-url", url).base_url) == endpoint


URLS = [
    *("gateway.example.com", "ftp://gateway.example.com", "http://", "http://h:0", "http://h:99999", "http://[::1", "http://h/path"),
    *("http://user:secret@h", "http://h?secret", "http://h#secret", "http://h secret"),
]
USAGE = [
    *(("--base-url", url) for url in URLS),
    *(("--stats-url", url) for url in ("https://h/stats", "http://h/other")),
    *(("--timeout", seconds) for seconds in ("0", "inf", "nan", "soon")),
    *(("--resolve", "gateway.example.com"), ("--only",), ("--token-file", "a", "--token-env", "b"), ("--token", "secret")),
]


@pytest.mark.parametrize("arguments", USAGE)
def test_what_cannot_be_meant_is_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(*arguments)
    assert ended.value.code == 2
    if "--token" not in arguments:
        assert "secret" not in capsys.readouterr().err


def test_what_does_not_go_together_is_told() -> None:
    assert options("--list").problems() == ()
    assert options("--base-url", "http://h").problems() == ()
    assert options().problems() == ("--base-url is required: where the gateway is",)
    assert options("--base-url", "http://h", "--ca-file", "f").problems() == ("--ca-file is for a gateway with https",)
    assert options("--base-url", "https://h", "--ca-file", "f").problems() == ()
