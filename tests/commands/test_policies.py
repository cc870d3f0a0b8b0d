"""The policy of manifests is that of a service that starts with them, but for Namespaces that nothing describes."""

import io
import os
from pathlib import Path
from typing import NoReturn

import pytest

from exchanger.authz.decision.answer import Effect, ExplainedDecision, asked_request
from exchanger.commands.offline.inputs import PolicyInputs
from exchanger.commands.policies import AssembledPolicy, policy_of_paths
from exchanger.model.entry import Source
from exchanger.model.errors import ConfigurationError
from tests.commands.examples import GRANTS, ISSUERS, ORDERS, config_map, namespace, written

ALLOW = """\
      - match: {host: login.example.com, pathPrefix: /}
        action: allow
"""


def policy(*paths: str, issuers: str = "", grants: str = "", **variables: str) -> AssembledPolicy:
    return policy_of_paths(paths, PolicyInputs(Path(issuers) if issuers else None, Path(grants) if grants else None), variables)


def answer(of: AssembledPolicy, path: str, host: str = "orders.example.com", method: str = "GET") -> ExplainedDecision:
    return of.answer(asked_request(method, host, path, [("authorization", "Bearer x")]))


def test_folders_files_lists_and_json_are_read(tmp_path: Path) -> None:
    written(tmp_path, "a/deep/orders.yaml", config_map())
    other = written(tmp_path, "other.json", '{"apiVersion": "v1", "kind": "List", "items": []}')
    found = policy(str(tmp_path / "a"), other)
    assert answer(found, "/orders/1").effect is Effect.EXCHANGE
    assert answer(found, "/orders/admin").effect is Effect.DENY


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(config_map().encode()))
    monkeypatch.setattr("sys.stdin", stream)
    assert answer(policy("-"), "/orders/1").effect is Effect.EXCHANGE


def test_a_namespace_that_is_described_is_checked_by_its_labels(tmp_path: Path) -> None:
    selected = written(tmp_path, "a.yaml", f"{config_map()}---\n{namespace()}")
    skipped = written(tmp_path, "b.yaml", f"{config_map()}---\n{namespace(label='a: b')}")
    assert answer(policy(selected), "/orders/1").effect is Effect.EXCHANGE
    found = policy(skipped)
    assert answer(found, "/orders/1").effect is Effect.UNMATCHED
    assert "the labels of its Namespace are not" in found.notes[0]


def test_what_is_inactive_is_noted(tmp_path: Path) -> None:
    path = written(tmp_path, "a.yaml", config_map(label="a: b") + "---\nversion: v1\nentries: []\n")
    found = policy(path)
    assert answer(found, "/orders/1").effect is Effect.UNMATCHED
    assert any("is a policy that is not in a ConfigMap" in note for note in found.notes)
    assert any("team-orders/orders is not active: its labels are not" in note for note in found.notes)
    assert "has no file that ends in" in policy(written(tmp_path, "empty/x.txt", "").removesuffix("/x.txt")).notes[0]


def test_unreadable_file_fails_closed_as_at_the_start_of_a_service(tmp_path: Path) -> None:
    written(tmp_path, "a.yaml", config_map())
    written(tmp_path, "b.yaml", "{")
    for found in (policy(str(tmp_path)), policy(str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml"))):
        closed = answer(found, "/elsewhere", host="nobody.example.com")
        assert (closed.effect, closed.status) == (Effect.REFUSED, 500)
        assert "b.yaml" in closed.reason


def test_a_file_of_a_folder_that_cannot_be_opened_closes(tmp_path: Path) -> None:
    written(tmp_path, "a.yaml", config_map())
    (tmp_path / "b.yaml").symlink_to("nowhere")
    closed = answer(policy(str(tmp_path)), "/elsewhere", host="nobody.example.com")
    assert closed.status == 500
    assert closed.reason.endswith(f"the file {tmp_path}/b.yaml cannot be read: No such file or directory")


def test_policy_without_a_config_map_counts_only_in_a_named_file(tmp_path: Path) -> None:
    path = written(tmp_path, "a.yaml", f"version: v1\nentries:\n{ORDERS}")
    assert answer(policy(path), "/orders/1").effect is Effect.EXCHANGE
    found = policy(str(tmp_path))
    assert answer(found, "/orders/1").effect is Effect.UNMATCHED
    assert f"{path}: document 0 is a policy that is not in a ConfigMap" in found.notes[0]


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.yaml", "b.yaml"):
        written(tmp_path, name, config_map())
    monkeypatch.setattr("exchanger.sources.directory.folder.MAX_FILES", 1)
    with pytest.raises(ConfigurationError, match="has more than 1 manifest files"):
        policy(str(tmp_path))

    def refuse(_folder: Path, _others: list[str]) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("exchanger.commands.policies.manifest_names", refuse)
    with pytest.raises(ConfigurationError, match="cannot be listed: Permission denied"):
        policy(str(tmp_path))


def test_issuers_are_checked_if_a_file_names_them(tmp_path: Path) -> None:
    unknown = config_map(namespace="x", name="y").replace("primary", "unknown")
    path = written(tmp_path, "m/a.yaml", f"{config_map()}---\n{unknown}")
    issuers = written(tmp_path, "issuers.yaml", ISSUERS)
    found = policy(path, issuers=issuers)
    exchanged = answer(policy(written(tmp_path, "m2/a.yaml", config_map()), issuers=issuers), "/orders/1")
    assert exchanged.issuer is not None
    assert (exchanged.issuer.endpoint_host, exchanged.issuer.credentials.client_id) == ("login.example.com", "")
    assert answer(found, "/orders/1").status == 500
    assert "not-a-secret" not in repr(found.rules)


def test_grants_and_their_baseline_count(tmp_path: Path) -> None:
    path, grants = written(tmp_path, "m/a.yaml", config_map(ORDERS + ALLOW)), written(tmp_path, "grants.yaml", GRANTS)
    found = policy(path, grants=grants)
    assert answer(found, "/x", host="login.example.com").effect is Effect.ALLOW
    assert (answer(found, "/internal/x").effect, answer(found, "/internal/x").source) == (Effect.DENY, Source("", "baseline"))
    assert answer(policy(path), "/x", host="login.example.com").status == 500  # it has to be granted


def test_grants_by_label_say_that_labels_are_not_known(tmp_path: Path) -> None:
    path = written(tmp_path, "m/a.yaml", config_map())
    grants = written(
        tmp_path, "grants.yaml", "version: v1\ngrants: [{namespaceSelector: a=b, hosts: ['*'], issuers: ['*'], scopes: ['*']}]\n"
    )
    found = policy(path, grants=grants)
    assert answer(found, "/orders/1").effect is Effect.UNMATCHED
    unlabelled, refused, *_ = found.notes
    assert unlabelled == "Namespace team-orders is not among the manifests: grants by label do not apply to it"
    assert refused.startswith("team-orders/orders: POL-2001: entries[0] is outside")
    assert refused.endswith(", and has no effect")
    by_name = grants.replace("grants.yaml", "by-name.yaml")
    Path(by_name).write_text(
        "version: v1\ngrants: [{namespaceSelector: kubernetes.io/metadata.name=team-orders, hosts: ['*'], issuers: ['*'], scopes: ['*'], "
        "audiences: ['*']}]\n"
    )
    assert answer(policy(path, grants=by_name), "/orders/1").effect is Effect.EXCHANGE


def test_the_service_s_variables_count(tmp_path: Path) -> None:
    path = written(tmp_path, "a.yaml", config_map())
    found = policy(path, TOKEN_EXCHANGE_DEFAULT_DENY_UNMATCHED="true", POLICY_DIRECTORY="/nowhere", GRPC_PORT="x")
    assert (answer(found, "/").effect, answer(found, "/").status) == (Effect.UNMATCHED, 403)
    nothing = policy(written(tmp_path, "b.yaml", ""), POLICY_REQUIRED="true")
    assert nothing.snapshot is None
    assert answer(nothing, "/").status == 500
    with pytest.raises(ConfigurationError, match="POLICY_UNREADABLE_REACH"):
        policy(path, POLICY_UNREADABLE_REACH="far")


def test_what_grants_refuse_is_noted_in_the_order_of_names(tmp_path: Path) -> None:
    names = [f"team-{letter}" for letter in "gbeadcf"]
    path = written(tmp_path, "m/a.yaml", "\n---\n".join(config_map(namespace=name) for name in names))
    found = policy(path, grants=written(tmp_path, "grants.yaml", "version: v1\ngrants: []\n"))
    assert list(dict.fromkeys(note.partition("/")[0] for note in found.notes)) == sorted(names)


def test_grants_may_be_reported_only(tmp_path: Path) -> None:
    path, grants = written(tmp_path, "m/a.yaml", config_map()), written(tmp_path, "grants.yaml", "version: v1\ngrants: []\n")
    assert answer(policy(path, grants=grants), "/orders/1").effect is Effect.UNMATCHED
    reported = policy(path, grants=grants, POLICY_GRANTS_MODE="report")
    assert (answer(reported, "/orders/1").effect, reported.notes) == (Effect.EXCHANGE, ())


def test_an_unreadable_file_is_not_taken_for_the_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "baseline", "{")
    closed = answer(policy("baseline"), "/")
    assert (closed.effect, closed.status) == (Effect.REFUSED, 500)
    assert "not YAML" in closed.reason


def test_standard_input_is_read_once() -> None:
    with pytest.raises(ConfigurationError, match="can be read once"):
        policy("-", "-")


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, "a.yaml", config_map())
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigurationError) as raised:
        policy(str(tmp_path / "no.yaml"), str(tmp_path / "no"), str(pipe), "a\0b")
    assert [problem.removeprefix(str(tmp_path)) for problem in raised.value.problems] == [
        "/no.yaml cannot be read: No such file or directory",
        "/no cannot be read: No such file or directory",
        "/pipe cannot be read: is not a regular file",
        "a\N{REPLACEMENT CHARACTER}b cannot be read: it is not a path",
    ]
    with pytest.raises(ConfigurationError, match="cannot be read"):
        policy(path, issuers=str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="needs a tokenEndpoint"):
        policy(path, issuers=written(tmp_path, "i.yaml", "issuers: [{name: a, clientID: b, clientSecret: c, tokenEndpoint: ''}]"))
    with pytest.raises(ConfigurationError, match="unknown fields"):
        policy(path, issuers=written(tmp_path, "j.yaml", "isuers: []"))
    with pytest.raises(ConfigurationError, match="is empty"):
        policy(path, grants=written(tmp_path, "g.yaml", ""))
