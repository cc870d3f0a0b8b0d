"""If the command cannot answer, it says why in one sentence and with its exit status."""

import argparse
import io
from pathlib import Path

import pytest

from exchanger.status.command import NO_TELLING, run_status
from exchanger.status.options import StatusOptions, add_arguments, options_of


def parsed(*arguments: str) -> StatusOptions:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return options_of(parser.parse_args(arguments))


def test_options() -> None:
    assert parsed() == StatusOptions()
    assert parsed("--grants", "g").grants == Path("g")
    assert parsed("--kubeconfig", "k", "--context", "c", "--issuers", "i", "--json") == StatusOptions("k", "c", Path("i"), json=True)


@pytest.mark.parametrize(
    ("options", "variables", "sentence"),
    [
        (StatusOptions(), {"POLICY_NAMESPACES": "A"}, "POLICY_NAMESPACES must be names of Namespaces"),
        (StatusOptions(), {"POLICY_NAMESPACES_FILE": "/nonexistent"}, "POLICY_NAMESPACES_FILE /nonexistent cannot be read"),
        (StatusOptions(), {"CONFIGMAP_LABEL_SELECTOR": "=="}, "CONFIGMAP_LABEL_SELECTOR is not a label selector"),
        (StatusOptions(issuers=Path("/nonexistent")), {}, "/nonexistent cannot be read"),
        (StatusOptions(), {"TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": "/nonexistent"}, "/nonexistent cannot be read"),
        (StatusOptions(), {"POLICY_GRANTS_FILE": "/nonexistent"}, "POLICY_GRANTS_FILE /nonexistent cannot be read"),
        (StatusOptions(), {"POLICY_GRANTS_MODE": "off"}, "POLICY_GRANTS_MODE must be"),
        (StatusOptions(grants=Path("/nonexistent")), {"POLICY_GRANTS_FILE": "/unused"}, "/nonexistent cannot be read"),
        (StatusOptions(grants=Path("/dev/null")), {}, "/dev/null"),
        (StatusOptions(kubeconfig="/nonexistent"), {}, "kubeconfig file at /nonexistent"),
        (StatusOptions(), {"KUBECONFIG": "/nonexistent"}, "kubeconfig file at /nonexistent"),
    ],
)
async def test_a_reason_not_to_answer_is_one_sentence(
    options: StatusOptions, variables: dict[str, str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = io.StringIO()
    assert await run_status(options, variables, out) == NO_TELLING
    assert out.getvalue() == ""
    said = capsys.readouterr().err
    assert said.startswith("exchanger status: ")
    assert sentence in said


async def test_a_broken_profiles_file_is_reported_without_its_contents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "issuers.yaml"
    path.write_text("issuers: [{name: primary, clientSecret: [canary]}]")
    assert await run_status(StatusOptions(issuers=path), {}) == NO_TELLING
    said = capsys.readouterr().err
    assert said
    assert "canary" not in said


async def test_a_refused_connection_is_reported_without_credentials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"
        "clusters: [{name: c, cluster: {server: 'http://user:canary@127.0.0.1:1/prefix'}}]\nusers: [{name: u, user: {token: canary}}]\n"
    )
    out = io.StringIO()
    assert await run_status(StatusOptions(kubeconfig=str(path)), {"CONFIGMAP_LABEL_SELECTOR": "a=b"}, out) == NO_TELLING
    said = capsys.readouterr().err
    assert said == "exchanger status: http://127.0.0.1:1/prefix: namespaces cannot be listed (unreachable): the connection was refused\n"
