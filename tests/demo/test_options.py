"""The demo's command line."""

import argparse

import pytest

from exchanger.demo.envoy import Mode
from exchanger.demo.options import DemoOptions, add_arguments, options_of


def parsed(*arguments: str) -> DemoOptions:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return options_of(parser.parse_args(arguments))


def test_nothing_given_means_free_ports_and_no_check() -> None:
    assert parsed() == DemoOptions(
        check=False, envoy_port=0, grpc_port=0, metrics_port=0, token_port=0, upstream_port=0, console_port=0, start_timeout=30
    )


def test_everything_given() -> None:
    ports = "--envoy-port 1 --grpc-port 2 --metrics-port 3 --token-port 4 --upstream-port 65535 --console-port 6"
    flags = f"--check --mode ext_proc {ports} --start-timeout 1.5"
    assert parsed(*flags.split()) == DemoOptions(
        check=True,
        mode=Mode.EXT_PROC,
        envoy_port=1,
        grpc_port=2,
        metrics_port=3,
        token_port=4,
        upstream_port=65535,
        console_port=6,
        start_timeout=1.5,
    )


@pytest.mark.parametrize(
    "flags",
    [
        ("--envoy-port", "65536"),
        ("--envoy-port", "-1"),
        ("--envoy-port", "http"),
        ("--envoy-port", "²"),
        ("--mode", "ext-proc"),
        ("--start-timeout", "0"),
        ("--start-timeout", "nan"),
        ("--start-timeout", "inf"),
        ("--start-timeout", "soon"),
        ("--unknown",),
    ],
)
def test_what_cannot_be_meant_is_refused(flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(*flags)
    assert ended.value.code == 2
    assert flags[0] in capsys.readouterr().err
