"""If the command cannot answer, it says why in one sentence and with its exit status."""

import argparse
import io
import json
from pathlib import Path
from typing import Final

import pytest

from exchanger.commands.check.files import read_file
from exchanger.commands.status.command import NO_TELLING, PROBLEMS, run_status
from exchanger.commands.status.options import StatusOptions, add_arguments, options_of
from tests.commands.check.checking import config_map
from tests.sources.kube.cluster import Cluster, deny
from tests.sources.kube.kubeconfig import write_kubeconfig


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
        (StatusOptions(directory=Path("/nonexistent")), {}, "--directory /nonexistent is not a folder"),
        (StatusOptions(), {"POLICY_SOURCE": "directory"}, "POLICY_DIRECTORY is required"),
        (StatusOptions(context="x"), {"POLICY_SOURCE": "directory", "KUBECONFIG": "/nonexistent"}, "kubeconfig file at /nonexistent"),
        (StatusOptions(service="https://h"), {}, "--service must be a URL"),
        (StatusOptions(service="http://127.0.0.1:1"), {}, "http://127.0.0.1:1 does not answer: "),
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


async def test_a_folder_is_read_as_at_a_start(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {ext-authz-token-exchange.magneticflux.net/policy: enabled}}\n---\n"
        + config_map("version: v1\nentries: [{match: {host: a, pathPrefix: /}, acton: deny}]", namespace="a")
    )
    out = io.StringIO()
    assert await run_status(StatusOptions(directory=tmp_path, json=True), {}, out) == PROBLEMS
    told = json.loads(out.getvalue())
    assert (told["folder"], told["namespaces"], told["totals"]["problems"]) == (str(tmp_path), ["a"], 1)
    by_variables = io.StringIO()
    await run_status(StatusOptions(json=True), {"POLICY_SOURCE": "directory", "POLICY_DIRECTORY": str(tmp_path)}, by_variables)
    assert by_variables.getvalue() == out.getvalue()


async def test_the_profiles_of_a_file_are_those_that_entries_may_refer_to(tmp_path: Path) -> None:
    exchange = "{match: {host: a, pathPrefix: /}, action: exchange, exchange: {issuerRef: primary, scope: s}}"
    (tmp_path / "p").mkdir()
    (tmp_path / "p/a.yaml").write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {ext-authz-token-exchange.magneticflux.net/policy: enabled}}\n---\n"
        + config_map(f"version: v1\nentries: [{exchange}]", namespace="a")
    )
    by_name = {}
    for name in ("primary", "other"):
        by_name[name] = tmp_path / f"{name}.yaml"
        by_name[name].write_text(f"issuers: [{{name: {name}, tokenEndpoint: 'https://a.example/t', clientID: a, clientSecret: b}}]")
    folder = tmp_path / "p"
    told = []
    for options, variables in (
        (StatusOptions(directory=folder, json=True), {}),
        (StatusOptions(directory=folder, json=True, issuers=by_name["other"]), {"TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": "/unused"}),
        (StatusOptions(directory=folder, json=True), {"TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": str(by_name["primary"])}),
    ):
        out = io.StringIO()
        await run_status(options, variables, out)
        shown = json.loads(out.getvalue())
        told.append((shown["issuers"]["checked"], shown["issuers"]["profiles"], shown["totals"]["problems"]))
    assert told == [(False, None, 0), (True, ["other"], 1), (True, ["primary"], 0)]
    out = io.StringIO()
    await run_status(StatusOptions(directory=folder, issuers=by_name["other"]), {}, out)
    assert f"1 profile in {by_name['other']}" in out.getvalue()


async def test_a_cluster_is_surveyed_by_the_service_s_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    cluster.put_namespace("team")
    cluster.put("team", "orders", deny("/x"))
    monkeypatch.setattr("exchanger.commands.status.command.PolicyListWatches", lambda _connection: cluster)
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", "http://user:canary@127.0.0.1:1", {})
    (tmp_path / "grants.yaml").write_text("version: v1\ngrants: []")
    variables = {"CONFIGMAP_NAMESPACE_SELECTOR": "policy=enabled", "CONFIGMAP_LABEL_SELECTOR": "enabled", "POLICY_SOURCE": "directory"}
    told = []
    for grants in (None, tmp_path / "grants.yaml"):
        out = io.StringIO()
        await run_status(StatusOptions(kubeconfig=str(kubeconfig), json=True, grants=grants), variables, out)
        shown = json.loads(out.getvalue())
        told.append((shown["server"], shown["namespaces"], shown["totals"]["entries"], shown["totals"].get("notGranted")))
    assert told == [("http://127.0.0.1:1", ["team"], 1, None), ("http://127.0.0.1:1", ["team"], 0, 1)]


WHOLE: Final = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: p, namespace: team, labels: {a: b}}\n"


@pytest.mark.parametrize(
    "text",
    [
        "kind: ConfigMap\n\tmetadata: {}\n",
        WHOLE + "data:\n  a: 'x\n",
        WHOLE + "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: q\n  labels:\n    a: b\n    c: true\n",
        WHOLE + "---\n- a list\n",
        WHOLE + "---\n\n# a comment\napiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: team}\n",
        "apiVersion: v1\nkind: List\nitems:\n- " + WHOLE.replace("\n", "\n  ").rstrip() + "\n  data: [a]\n",
        "a: &a [*a]\n",
    ],
    ids=["tab", "quote", "label", "list", "no name", "item", "alias"],
)
async def test_unreadable_file_has_the_same_code_and_line_as_in_check(text: str, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(text)
    checked, *_ = read_file("broken.yaml", text.encode()).problems
    as_json, as_text = io.StringIO(), io.StringIO()

    assert await run_status(StatusOptions(directory=tmp_path, json=True), {}, as_json) == PROBLEMS
    assert await run_status(StatusOptions(directory=tmp_path), {}, as_text) == PROBLEMS

    ((told,),) = (policy["problems"] for policy in json.loads(as_json.getvalue())["configMaps"])
    assert (told["code"], told["line"]) == (checked.problem.code.name, checked.place.line)
    assert told["remedy"] == checked.problem.code.remedy
    assert f"    = {told['remedy']}\n" in as_text.getvalue()
