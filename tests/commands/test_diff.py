"""``exchanger diff``: areas that are decided differently, each with an example; nothing else."""

import io
import json
from pathlib import Path

import pytest

from exchanger.commands.areas import OTHER_HOSTS, PathKind, examples
from exchanger.commands.diff import DIFFERENT, NO_TELLING, SAME, compare, run_diff
from exchanger.commands.offline.inputs import PolicyInputs
from exchanger.commands.policies import policy_of_paths
from exchanger.model.entry import FailClosedScope, MatchScope, Source
from exchanger.policy import depth
from exchanger.policy.documents.document import PolicyDocument
from tests.commands.examples import GRANTS, ISSUERS, ORDERS, config_map, written
from tests.policy.examples import RED, deny
from tests.property.strategies_tools import policy_of


def run(tmp_path: Path, old: str, new: str, *, as_json: bool = False, **files: str) -> tuple[int, str]:
    given = {name: Path(written(tmp_path, f"{name}.yaml", text)) for name, text in files.items()}
    chosen = [PolicyInputs(given.get(f"{side}_issuers"), given.get(f"{side}_grants")) for side in ("old", "new")]
    out = io.StringIO()
    paths = written(tmp_path, "old/a.yaml", old), written(tmp_path, "new/a.yaml", new)
    return run_diff(*paths, *chosen, as_json=as_json, variables={}, out=out), out.getvalue()


def areas(tmp_path: Path, old: str, new: str, **files: str) -> list[tuple[str, str, list[str], str, str]]:
    status, said = run(tmp_path, old, new, as_json=True, **files)
    found = json.loads(said)
    assert status == (DIFFERENT if found["areas"] else SAME)
    return [(one["hosts"], one["paths"], one["methods"], one["before"]["kind"], one["after"]["kind"]) for one in found["areas"]]


def entry(prefix: str, action: str = "deny", **match: str) -> str:
    more = "".join(f", {name}: {value}" for name, value in {"host": "a.example", **match}.items())
    exchange = "\n        exchange: {issuerRef: primary, scope: x}" if action == "exchange" else ""
    return f"      - match: {{pathPrefix: {prefix}{more}}}\n        action: {action}{exchange}\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (ORDERS, ORDERS),
        (entry("/a") + entry("/b"), entry("/b") + entry("/a")),  # the order of entries means nothing
        (entry("/a"), entry("/a") + entry("/a/b")),  # the same for part of it
        (entry("/a", methods="[GET]"), entry("/a", methods="[GET, HEAD]")),
        (entry("/a"), entry("/a", host="A.example:443")),
        (entry("/a", pathType="Segment"), entry("/a/", pathType="Segment")),
        (entry("/a") + entry("/a"), entry("/a") + entry("/a") + entry("/a")),  # a conflict either way
    ],
)
def test_what_is_decided_alike_is_the_same(tmp_path: Path, old: str, new: str) -> None:
    status, said = run(tmp_path, config_map(old), config_map(new))
    assert (status, said) == (SAME, "Every request is decided as before.\n")
    assert run(tmp_path, config_map(old), config_map(new, name="renamed"))[0] == SAME


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (entry("/a"), entry("/b"), [("a.example", "/a…", [], "deny", "unmatched"), ("a.example", "/b…", [], "unmatched", "deny")]),
        (entry("/a"), entry("/a", pathType="Segment"), [("a.example", "/a… but not below", [], "deny", "unmatched")]),
        (entry("/a", pathType="Segment"), entry("/a", pathType="Exact"), [("a.example", "below /a", [], "deny", "unmatched")]),
        (entry("/a"), entry("/a", methods="[PUT]"), [("a.example", "/a…", ["any other method"], "deny", "unmatched")]),
        (entry("/a", methods="[PUT]"), entry("/a", methods="[PUT, GET]"), [("a.example", "/a…", ["GET", "HEAD"], "unmatched", "deny")]),
        (entry("/a"), entry("/a") + entry("/a", "exchange"), [("a.example", "/a…", [], "deny", "refused")]),
        (entry("/a"), entry("/a", caseInsensitive="true"), [("a.example", "/A…", [], "unmatched", "deny")]),
        (
            entry("/a", host='"*.example"'),
            entry("/a", host='"*.example"') + entry("/a", "exchange", host="b.example"),
            [("b.example", "/a…", [], "deny", "exchange")],
        ),
        (
            entry("/a", host='"*.example"'),
            entry("/a", host='"*.b.example"'),
            [("any other host below example", "/a…", [], "deny", "unmatched")],
        ),
        (
            entry("/a", "exchange"),
            entry("/a", "exchange") + entry("/a", headers="[{name: X, value: y}]"),
            [("a.example", "/a…", [], "exchange", "deny"), ("a.example", "/a…", [], "exchange", "refused")],
        ),
    ],
)
def test_each_area_is_told_with_its_hosts_paths_and_methods(
    tmp_path: Path, old: str, new: str, expected: list[tuple[str, str, list[str], str, str]]
) -> None:
    assert [area for area in areas(tmp_path, config_map(old), config_map(new)) if not area[1].startswith("a path that")] == expected


def test_denial_of_a_host_is_reported_for_head(tmp_path: Path) -> None:
    orders = entry("/orders", "exchange", methods="[GET]")
    old, new = config_map(orders), config_map(orders + entry("/"))
    assert ("a.example", "/orders…", ["HEAD"], "exchange", "deny") in areas(tmp_path, old, new)
    assert "  note     HEAD gets the stricter of two decisions: by entries for HEAD itself, and as GET\n" in run(tmp_path, old, new)[1]


def test_unreadable_path_is_compared_on_other_hosts() -> None:
    closed_scope = FailClosedScope(Source("b", "policy"), MatchScope("b.example", "/b"), "", guessed=True)
    old, new = policy_of([]), policy_of([PolicyDocument(closed_scope.source, closed_scopes=(closed_scope,))])
    kinds = {(example.hosts, example.kind) for example in examples(old, new) if example is not None}
    assert (OTHER_HOSTS, PathKind.UNREADABLE) in kinds
    assert {area.hosts for area in compare(old, new).areas} == {"b.example"}


def test_an_unreadable_document_closes_every_host(tmp_path: Path) -> None:
    found = areas(tmp_path, config_map(entry("/a")), config_map(entry("/a")) + "---\n" + config_map("      {", namespace="b"))
    assert {("any other host", "/…", "unmatched", "refused"), ("a host that cannot be read", "/…", "refused", "refused")} <= {
        (hosts, paths, before, after) for hosts, paths, _, before, after in found
    }
    assert not any(hosts == "a.example" and paths.startswith("/a") for hosts, paths, *_ in found)  # decided by another namespace


def test_grants_and_issuers_make_a_difference(tmp_path: Path) -> None:
    text = config_map(entry("/a", "exchange", host="a.example.com"))
    assert areas(tmp_path, text, text, old_grants=GRANTS, new_grants=GRANTS) == []
    denied = areas(tmp_path, text, text, new_grants=GRANTS)
    assert ("any other host below example.com", "/internal…", [], "unmatched", "deny") in denied
    refused = areas(tmp_path, text, text, old_grants=GRANTS, new_grants=GRANTS.replace("issuers: [primary]", "issuers: [other]"))
    assert refused == [("a.example.com", "/a…", [], "exchange", "refused")]
    assert areas(tmp_path, text, text, old_issuers=ISSUERS, new_issuers=ISSUERS) == []
    unknown = areas(tmp_path, text, text, old_issuers=ISSUERS, new_issuers=ISSUERS.replace("primary", "other"))
    assert unknown == [("a.example.com", "/a…", [], "exchange", "refused")]


def test_changed_issuer_is_reported_by_its_fields_without_secrets(tmp_path: Path) -> None:
    text = config_map(entry("/a", "exchange"))
    status, said = run(
        tmp_path, text, text, old_issuers=ISSUERS, new_issuers=ISSUERS.replace("not-a-secret", "hunter2").replace("login.", "id.")
    )
    assert status == DIFFERENT
    assert "a.example  /a…\n" in said
    assert "issuer   its profile differs in tokenEndpoint, clientSecret" in said
    assert "(login.example.com)" in said
    assert "(id.example.com)" in said
    assert "hunter2" not in said


def test_other_metadata_is_told_where_an_exchange_is_decided(tmp_path: Path) -> None:
    old = config_map(entry("/a", "exchange"))
    status, said = run(tmp_path, old, old.replace("scope: x", "scope: x, resourceMetadata: https://a.example/m"))
    assert status == DIFFERENT
    assert "before   exchange by team-orders/orders entries[0], issuer primary, scope x\n" in said
    assert "after    exchange by team-orders/orders entries[0], issuer primary, scope x, metadata https://a.example/m\n" in said
    assert "1 area is decided differently.\n" in said


def test_examples_can_be_explained(tmp_path: Path) -> None:
    status, said = run(tmp_path, config_map(ORDERS), config_map(ORDERS.replace("value: drop", "value: delete")))
    assert status == DIFFERENT
    assert "  example  GET https://orders.example.com/mcp -H 'mcp-name: delete'" in said
    assert "  before   deny (403) by team-orders/orders entries[2]\n  after    unmatched\n" in said
    assert said.endswith("areas are decided differently.\n")


def test_more_than_is_looked_at_is_not_the_same(tmp_path: Path) -> None:
    old, new = (
        policy_of_paths((written(tmp_path, name, config_map(text)),), PolicyInputs(), {})
        for name, text in (("a.yaml", entry("/a")), ("b.yaml", entry("/b")))
    )
    found = compare(old, new, limit=1)
    assert (found.areas, found.complete) == ((), False)


def test_a_required_policy_that_goes_away_changes_everything(tmp_path: Path) -> None:
    paths = written(tmp_path, "old.yaml", config_map(entry("/a"))), written(tmp_path, "new.yaml", "")
    out = io.StringIO()
    assert run_diff(*paths, PolicyInputs(), PolicyInputs(), as_json=True, variables={"POLICY_REQUIRED": "true"}, out=out) == DIFFERENT
    found = {(one["hosts"], one["before"]["kind"], one["after"]["status"]) for one in json.loads(out.getvalue())["areas"]}
    assert {("a.example", "deny", 500), ("any other host", "unmatched", 500)} <= found


def test_what_cannot_be_compared_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "a.yaml", config_map(label="x: y"))
    assert run_diff(path, str(tmp_path / "none"), PolicyInputs(), PolicyInputs(), variables={}) == NO_TELLING
    assert "none cannot be read" in capsys.readouterr().err
    assert run_diff("-", "-", PolicyInputs(), PolicyInputs(), variables={}) == NO_TELLING
    assert "can be read once" in capsys.readouterr().err
    assert run_diff(path, path, PolicyInputs(), PolicyInputs(), variables={}) == SAME
    assert "exchanger diff: OLD: ConfigMap team-orders/orders is not active" in capsys.readouterr().err


FULL = """
    clientAssertion: {keyFile: /k.pem, algorithm: ES256}
    parameters: {canary: canary}
    cache: {maxTTL: 5m, maxEntries: 10}
    actorToken: {clientCredentials: {scope: act}}
    subjectToken: {from: [{header: X-A}], issuers: [https://a.example], audiences: [a]}
"""


@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        ("algorithm: ES256", "algorithm: RS256", "clientAssertion.algorithm"),
        ("parameters: {canary: canary}", "parameters: {canary: canary2}", "parameters"),
        ("maxTTL: 5m", "maxTTL: 6m", "cache.maxTTL"),
        ("scope: act", "scope: other", "actorToken.clientCredentials.scope"),
        ("{clientCredentials: {scope: act}}", "{file: /a}", "actorToken.file, actorToken.clientCredentials"),
        ("header: X-A", "header: X-B", "subjectToken.from"),
        ("audiences: [a]", "audiences: [a, canary]", "subjectToken.audiences"),
        ("    cache: {maxTTL: 5m, maxEntries: 10}\n", "    errors: strict\n", "cache, errors"),
        ("    cache: {maxTTL: 5m, maxEntries: 10}\n", "    proxy: http://canary:canary@a.example:1\n", "proxy, cache"),
    ],
)
def test_fields_of_profiles_that_differ_are_named_as_the_file_spells_them(tmp_path: Path, before: str, after: str, fields: str) -> None:
    head = "issuers:\n  - name: primary\n    tokenEndpoint: https://a.example/t\n    clientID: c"
    assert before in FULL
    text = config_map(entry("/a", "exchange"))
    issuers = {"old_issuers": head + FULL, "new_issuers": head + FULL.replace(before, after)}
    told = [run(tmp_path, text, text, as_json=as_json, **issuers) for as_json in (False, True)]
    assert [status for status, _ in told] == [DIFFERENT, DIFFERENT]
    assert "canary" not in str(told)
    assert f"its profile differs in {fields}\n" in told[0][1]
    assert json.loads(told[1][1])["areas"][0]["issuer_fields"] == fields.split(", ")


def headed(name: str, value: str, action: str) -> str:
    return entry("/a", action, headers=f'[{{name: {name}, value: "{value}"}}]')


def test_headers_that_tie_only_together_are_compared_however_many_there_are(tmp_path: Path) -> None:
    tenants = "".join(headed("X-Tenant", f"t{number}", "exchange") for number in range(60))
    old, new = (entry("/a") + tenants + headed("X-Beta", "2", "deny") + more for more in (headed("X-Beta", "1", "deny"), ""))
    assert areas(tmp_path, config_map(old), config_map(new)) == [("a.example", "/a…", [], "refused", "exchange")]


def test_with_more_headers_than_are_compared_nothing_is_called_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchanger.commands.areas.MAX_PAIRS", 5)
    named = "".join(headed(f"X-{number}", "1", "deny") for number in range(8))
    _, said = run(tmp_path, config_map(entry("/a") + named), config_map(entry("/a") + named + headed("X-9", "1", "deny")))
    assert said.splitlines()[-1] == "There is more to compare than this command can: other areas may differ, too."


def test_profiles_that_one_side_alone_has_are_compared(tmp_path: Path) -> None:
    old = config_map(entry("/a", "exchange").replace("scope: x", "audiences: [x]"))
    on_behalf = ISSUERS.replace("{name: primary,", "{name: primary, grantType: entra-obo,")
    assert areas(tmp_path, old, old, old_issuers=on_behalf) == [("a.example", "/a…", [], "refused", "exchange")]
    assert areas(tmp_path, old, old, new_issuers=ISSUERS) == []


def test_diff_with_too_many_levels_shows_the_other_methods_that_fail_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth, "MAX_DEPTH", 1)
    own = (deny("/a", methods=frozenset({"GET"})), deny("/a/b", index=1, methods=frozenset({"PUT"})))
    found = compare(policy_of([PolicyDocument(RED, own[:1])]), policy_of([PolicyDocument(RED, own)]))
    assert ("/a", ("any other method",)) in [(area.prefix, tuple(area.methods)[-1:]) for area in found.areas]
