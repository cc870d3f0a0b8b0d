"""The three commands on the command line: what they take, and how they end."""

from pathlib import Path

import pytest

from exchanger import cli
from exchanger.commands import diff
from tests.commands.examples import GRANTS, ISSUERS, config_map, written

ADMIN = "https://orders.example.com/orders/admin"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    return {
        "policy": written(tmp_path, "m/a.yaml", config_map()),
        "changed": written(tmp_path, "changed.yaml", config_map().replace("/admin", "/secret")),
        "issuers": written(tmp_path, "issuers.yaml", ISSUERS),
        "grants": written(tmp_path, "grants.yaml", GRANTS),
        "tests": written(tmp_path, "tests.yaml", f"tests: [{{request: {{method: GET, url: {ADMIN}}}, expect: {{decision: deny}}}}]"),
    }


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["explain", "GET", "orders.example.com/orders", "--policy", "{policy}", "--issuers", "{issuers}"], 0, "exchange: "),
        (["explain", "GET", ADMIN, "-H", "X-One: 1", "--header", "X-Two: 2", "--policy", "{policy}", "--json"], 1, '"kind":"deny"'),
        (["explain", "GET", "x.example.com/internal", "--policy", "{policy}", "--grants", "{grants}", "--raw"], 1, "baseline"),
        (["test", "{tests}", "--policy", "{policy}"], 0, "1 test: 1 passed, 0 failed"),
        (["test", "{tests}", "--policy", "{changed}", "--json"], 1, '"failed":1'),
        (["diff", "{policy}", "{policy}"], 0, "Every request is decided as before."),
        (["diff", "{policy}", "{changed}"], 1, "4 areas are decided differently."),
        (["diff", "{policy}", "{policy}", "--new-grants", "{grants}", "--json"], 1, '"same":false'),
        (["diff", "{policy}", "{policy}", "--old-issuers", "{issuers}", "--new-issuers", "{issuers}"], 0, "as before"),
    ],
)
def test_each_command_ends_with_its_status(
    files: dict[str, str], arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([argument.format(**files) for argument in arguments]) == status
    found = capsys.readouterr()
    assert said in found.out
    assert found.err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain"],
        ["explain", "GET", ADMIN],
        ["explain", "GET", ADMIN, "--policy"],
        ["explain", "GET", ADMIN, "--policy", "x", "--cluster"],
        ["explain", "GET", ADMIN, "--cluster", "--console", "http://a"],
        ["test", "x"],
        ["test", "--policy", "x"],
        ["diff", "x"],
    ],
)
def test_wrong_arguments_are_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert f"usage: exchanger {arguments[0]}" in capsys.readouterr().err


def test_more_areas_than_are_shown_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    entries = "".join(f"      - match: {{host: h{number}.example, pathPrefix: /}}\n        action: deny\n" for number in range(8))
    old, new = written(tmp_path, "old.yaml", ""), written(tmp_path, "new.yaml", config_map(entries))
    monkeypatch.setattr(diff, "MAX_SHOWN", 3)
    assert cli.main(["diff", old, new]) == 1
    said = capsys.readouterr().out
    assert said.count("  example  ") == 3
    assert "and 5 more areas\n8 areas are decided differently.\n" in said
    monkeypatch.setattr(diff, "MAX_AREAS", 4)
    assert cli.main(["diff", old, new]) == 1
    assert "There is more to compare than this command can" in capsys.readouterr().out
