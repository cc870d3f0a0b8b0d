"""The options of ``exchanger scenarios``, and docs/how-to/scenarios.md about them."""

import argparse
import re
from pathlib import Path

import pytest

from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.options import GatewayEndpoint, ScenariosOptions, add_arguments, options_of
from exchanger.commands.scenarios.reader import UnusableScenarios, read_scenarios
from exchanger.commands.scenarios.tokens import Subject

TEXT = (Path(__file__).parents[3] / "docs" / "how-to" / "scenarios.md").read_text("utf-8")


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
        base_url=GatewayEndpoint(secured=True, host="::1", port=8443),
        resolve="::2",
        file=Path("f.yaml"),
        token_env="TOKEN",
        only=("a", "b"),
        list=True,
        json=True,
        timeout=1.5,
        ca_file=Path("ca.pem"),
        stats_url=GatewayEndpoint(secured=False, host="127.0.0.1", port=5),
    )


def test_a_base_url_is_scheme_host_and_port() -> None:
    for url, endpoint in (
        ("http://gateway.example.com", "http://gateway.example.com:80"),
        ("https://gateway.example.com/", "https://gateway.example.com:443"),
        ("HTTP://LOCALHOST:10000", "http://localhost:10000"),
    ):
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
def test_wrong_values_are_usage_errors_that_repeat_no_credentials(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(*arguments)
    assert ended.value.code == 2
    if "--token" not in arguments:
        assert "secret" not in capsys.readouterr().err


def test_problems_are_options_that_do_not_go_together() -> None:
    certificate = ("--ca-file", "f")
    for arguments, problems in (
        (("--list",), ()),
        ((), ("--base-url is required: where the gateway is",)),
        (("--base-url", "http://h"), ()),
        (("--base-url", "http://h", *certificate), ("--ca-file is for a gateway with https",)),
        (("--base-url", "https://h", *certificate), ()),
    ):
        assert options(*arguments).problems() == problems


def test_the_example_of_the_guide_is_a_scenario_file() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    read = read_scenarios(example)
    assert not isinstance(read, UnusableScenarios)
    assert [scenario.name for scenario in read] == ["orders", "no-token"]


def test_the_table_of_the_guide_has_every_option_and_no_other() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    options = {line.split()[0] for line in parser.format_help().replace("\n  --", "\n--").splitlines() if line.startswith("--")}
    rows = {option for row in re.findall(r"(?m)^\| (`--.*?) \|", TEXT) for option in re.findall(r"--[a-z-]+", row)}
    assert rows == options


def test_the_guide_has_the_number_of_scenarios_and_every_subject() -> None:
    assert f"has {len(SCENARIOS)} of them" in TEXT
    assert [subject.value for subject in Subject if f"`{subject.value}`" not in TEXT] == []
