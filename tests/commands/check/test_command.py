"""The command: what it reads, how it tells, and its exit status."""

import contextlib
import http.server
import io
import json
import os
import re
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from exchanger import cli
from exchanger.commands.check.command import run_check
from exchanger.commands.check.options import CheckOptions, Format, HttpGateway
from exchanger.commands.check.quoting import redacted
from exchanger.commands.check.sarif import RULES
from exchanger.model.codes.registry import CODES
from tests.commands.check.checking import config_map, entries

DENY = "{match: {host: api.example.com, pathPrefix: /orders}, action: deny}"
WRONG = DENY.replace("action", "acton")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(*paths: Path | str, out: io.StringIO | None = None, variables: dict[str, str] | None = None, **more: object) -> tuple[int, str]:
    stream = out or io.StringIO()
    options = CheckOptions(tuple(map(str, paths)), **more)  # type: ignore[arg-type]  # by keyword
    return run_check(options, variables or {}, stream), stream.getvalue()


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "orders.yaml"
    path.write_text(config_map(entries(WRONG)))
    return path


def test_clean_is_status_0(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(config_map(entries(DENY.replace("/orders", "/"))))
    (tmp_path / "notes.txt").write_text("a: [")
    assert run(tmp_path) == (0, "no problems in 1 file with 1 policy\n")


def test_undescribed_namespace_is_a_problem_only_for_a_directory_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(config_map(entries(DENY.replace("/orders", "/"))))
    assert run(tmp_path)[0] == 0
    assert capsys.readouterr().err.startswith("exchanger check: Namespaces that are not in these files count as labelled: team (")
    assert run(tmp_path / "a.yaml")[0] == 0
    assert capsys.readouterr().err == ""
    status, said = run(tmp_path, variables={"POLICY_SOURCE": "directory"})
    assert status == 1
    assert "warning POL-3103: ConfigMap team/policy is not active: its Namespace team is not selected, or does not exist" in said
    label = "ext-authz-token-exchange.magneticflux.net/policy: enabled"
    (tmp_path / "team.yaml").write_text(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: team, labels: {{{label}}}}}\n")
    assert run(tmp_path, variables={"POLICY_SOURCE": "directory"}) == (0, "no problems in 2 files with 1 policy\n")
    assert capsys.readouterr().err == ""


def test_problems_are_status_1_with_the_line_quoted_and_marked(wrong: Path) -> None:
    status, said = run(wrong)
    assert status == 1
    assert f'{wrong}:12:63: error POL-1101: entries[0] has an unknown field "acton" (did you mean action?)\n' in said
    line = f"   12 |       - {WRONG}"
    assert f"{line}\n      | {' ' * (line.index('acton') - 8)}^^^^^\n" in said
    assert said.endswith("1 error in 1 file with 1 policy\nWhat a code means: exchanger code POL-1101\n")
    assert "\x1b" not in said


@pytest.mark.parametrize("match", ["methods: [get]", "caseInsensitive: false"])
def test_a_notice_is_no_failure(tmp_path: Path, match: str) -> None:
    (tmp_path / "a.yaml").write_text(config_map(entries(DENY.replace("pathPrefix", f"{match}, pathPrefix"))))
    assert run(tmp_path)[0] == 0


def test_a_warning_is_status_1(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(config_map(entries(DENY, DENY.replace("/orders", "/orders/"))))
    assert run(tmp_path)[0] == 1


@pytest.mark.parametrize(
    ("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)]
)
def test_colours_are_for_terminals_that_want_them(wrong: Path, variables: dict[str, str], coloured: bool) -> None:
    assert ("\x1b[" in run(wrong, out=Terminal(), variables=variables)[1]) is coloured


def test_a_path_that_is_not_there_is_status_2(tmp_path: Path, wrong: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(wrong, tmp_path / "none.yaml") == (2, "")
    assert capsys.readouterr().err == f"exchanger check: {tmp_path / 'none.yaml'} cannot be read: No such file or directory\n"
    assert run(wrong, issuers=tmp_path / "none.yaml") == (2, "")
    assert run(wrong, grants=tmp_path / "none.yaml") == (2, "")
    assert run("a\0b")[0] == 2


def test_a_file_is_read_once_however_often_it_is_named(wrong: Path) -> None:
    link = wrong.parent / "link.yaml"
    link.symlink_to(wrong)
    assert run(wrong, wrong.parent, link)[1].count("POL-1101:") == 1


def test_chart_templates_are_skipped_with_a_notice(tmp_path: Path) -> None:
    (tmp_path / "chart" / "templates" / "more").mkdir(parents=True)
    (tmp_path / "chart" / "Chart.yaml").write_text("apiVersion: v2\nname: shop\nversion: 1.0.0\n")
    (tmp_path / "chart" / "templates" / "more" / "policy.yaml").write_text("{{- if .Values.x }}\na: [\n{{- end }}\n")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "a.yaml").write_text("a: [")
    status, said = run(tmp_path / "chart")
    assert (status, said.count("POL-3008:"), "POL-3001" in said) == (2, 1, False)
    assert run(tmp_path)[1].count("POL-3001:") == 1
    assert run(tmp_path / "chart" / "templates" / "more" / "policy.yaml")[0] == 1


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"notes.txt": "a"},
        {"comments.yaml": "# nothing\n---\n"},
        {"values.yaml": "replicas: 1\n", "Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\n", "package.json": "{}"},
        {"namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n"},
        {"settings.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n"},
    ],
)
@pytest.mark.parametrize("form", list(Format))
def test_a_folder_without_policies_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, str], form: Format
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert run(tmp_path, format=form)[0] == 2
    assert capsys.readouterr().err.startswith("exchanger check: there is no policy at these paths")
    assert run(tmp_path, format=form, allow_empty=True)[0] == 0
    assert capsys.readouterr().err == ""


def test_what_is_wrong_counts_more_than_that_there_is_no_policy(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [")
    assert (run(tmp_path)[0], run(tmp_path, allow_empty=True)[0]) == (1, 1)
    (tmp_path / "b.json").write_text("# a comment\n{}")
    assert run(tmp_path / "b.json")[0] == 1


def test_selectors_are_those_of_the_service(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(config_map(entries(WRONG), label="kind: gate"))
    variables = {"CONFIGMAP_LABEL_SELECTOR": "kind=gate"}
    assert "POL-3102" in run(tmp_path)[1]
    assert "POL-3102" not in run(tmp_path, variables=variables)[1]
    assert run(tmp_path, variables={"CONFIGMAP_LABEL_SELECTOR": "a in ("})[0] == 2


ASSERTED = """\
issuers:
- name: primary
  tokenEndpoint: https://a.example/t
  clientID: canary
  clientAssertion:
    algorithm: ES256
    keyFile: /key.pem
"""


@pytest.mark.parametrize(
    ("mend", "line", "column", "said"),
    [
        (
            ("  clientID", "  clientSecret: canary\n  clientID"),
            4,
            17,
            "has clientSecret and clientAssertion; a client authenticates in one way",
        ),
        (("/key.pem", "key.pem"), 7, 14, "clientAssertion.keyFile must be an absolute path"),
        (("    keyFile: /key.pem\n", "    key: canary\n"), 6, 5, "has unknown fields: key"),
        (
            ("  tokenEndpoint: https://a.example/t\n", "  tokenEndpoint: http://a.example/t\n  discovery: https://a.example\n"),
            3,
            18,
            "has tokenEndpoint and discovery",
        ),
        (("  clientID", "  tokenEndpointAuthMethod: none\n  clientID"), 4, 28, "a client authenticates in one way"),
        (("  clientID", "  clientAssertionFile: {path: a}\n  clientID"), 7, 5, "has clientAssertion and clientAssertionFile"),
        (
            ("  clientID", "  actorToken: {clientCredentials: {}, file: canary}\n  clientID"),
            4,
            45,
            "actorToken.file is not for clientCredentials",
        ),
        (("  clientID", "  parameters: {resource: 5}\n  clientID"), 4, 15, "must be a mapping of texts"),
        (("  clientID", "  subjectToken: {audiences: [canary]}\n  clientID"), 4, 29, "subjectToken.audiences needs subjectToken.issuers"),
        (("  clientID", "  subjectToken: {from: [{header: Cookie}]}\n  clientID"), 4, 24, "must not name the header cookie"),
        (("  clientID", "  subjectToken: {from: [{header: a}, {head: canary}]}\n  clientID"), 4, 24, "has unknown fields: head"),
        (("  clientID", "  clientCertificate: {certFile: /c, keyFile: k}\n  clientID"), 4, 46, "clientCertificate.keyFile must be"),
    ],
)
def test_what_is_wrong_with_a_profile_is_told_at_its_field(
    tmp_path: Path, mend: tuple[str, str], line: int, column: int, said: str
) -> None:
    (tmp_path / "policy.yaml").write_text(config_map(entries()))
    text = ASSERTED.replace(*mend)
    assert text != ASSERTED
    if "clientCertificate" in text:
        text = text.partition("  clientAssertion:")[0]
    issuers = tmp_path / "issuers.yaml"
    issuers.write_text(ASSERTED)
    assert run(tmp_path / "policy.yaml", issuers=issuers)[0] == 0
    issuers.write_text(text)
    status, found = run(tmp_path / "policy.yaml", issuers=issuers)
    assert status == 1
    assert f"{issuers}:{line}:{column}: error POL-5002" in found
    assert said in found
    assert "canary" not in found.replace("clientID: canary", "")


def test_target_that_the_issuers_grant_cannot_request_is_an_error(tmp_path: Path) -> None:
    match = "{match: {host: a.example, pathPrefix: /%s}, action: exchange, exchange: {issuerRef: %s, scope: s%s}}"
    more = ", audiences: [a], resources: ['https://b.example']"
    lines = (match % ("a", "primary", more), match % ("b", "primary", ""), match % ("c", "second", more))
    (tmp_path / "policy.yaml").write_text(config_map(entries(*lines)))
    issuers = tmp_path / "issuers.yaml"
    second = "- {name: second, tokenEndpoint: https://a.example/t, clientID: c, clientSecret: canary}\n"
    issuers.write_text(ASSERTED + "  grantType: entra-obo\n" + second)
    status, said = run(tmp_path / "policy.yaml", issuers=issuers)
    assert status == 1
    place = re.escape(str(tmp_path / "policy.yaml"))
    found = re.findall(rf"{place}:12:(\d+): error POL-5003: (.+?) cannot be requested", said)
    column = len("      - ") + lines[0].index("[a]") + 1
    assert found == [
        (str(column), "entries[0].exchange.audiences"),
        (str(column + len("[a], resources: ")), "entries[0].exchange.resources"),
    ]
    assert said.count("error POL-5003") == 2
    issuers.write_text(ASSERTED + second)
    assert run(tmp_path / "policy.yaml", issuers=issuers)[0] == 0


def test_a_field_that_needs_responses_is_a_notice_that_shows_no_line(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(config_map(entries(DENY)))
    issuers = tmp_path / "issuers.yaml"
    cache = "cache: {maxTTL: 5m, maxEntries: 1, evictRejected: %s}"
    profile = "- {name: second, tokenEndpoint: https://a.example/t, clientID: c, clientSecret: canary, " + cache + "}\n"
    issuers.write_text(ASSERTED + profile % "false")
    assert "POL-5005" not in run(tmp_path / "policy.yaml", issuers=issuers)[1]
    issuers.write_text(ASSERTED + profile % "true")
    status, said = run(tmp_path / "policy.yaml", issuers=issuers)
    assert status == 0
    line, column = issuers.read_text().count("\n"), profile.index("%s") + 1
    assert f'{issuers}:{line}:{column}: notice POL-5005: issuer profile "second" cache.evictRejected has no effect behind ext_authz' in said
    assert "canary" not in said.replace("clientID: canary", "")


PROVEN = "- {name: primary, discovery: 'https://a.example', clientID: c, clientSecret: canary, issuedToken: {%s}}\n"


@pytest.mark.parametrize(
    ("proof", "targets", "expected"),
    [
        ("audience: requested", ("audiences: [a]", "resources: ['https://b.example']"), []),
        ("audience: requested", ("audiences: [a]", "scope: s"), [("policy", "error", "POL-5004", "{issuerRef", "entries[1].exchange")]),
        ("audience: [a, b]", ("audiences: [b]", "audiences: [a]"), []),
        ("audience: [a, b]", ("audiences: [b]", "resources: ['https://b.example']"), [("issuers", "warning", "POL-5006", "a,", '"a"')]),
        ("audience: [a, b]", ("audiences: [b]", "scope: s"), []),
        ("audience: [a, b]", (), []),
        ("subject: same", (), [("issuers", "notice", "POL-5007", "same", "subject is compared")]),
        ("subject: {claim: oid}", (), [("issuers", "notice", "POL-5007", "{claim", "subject is compared")]),
        ("subject: any", (), []),
    ],
)
def test_what_a_proof_cannot_check_or_needs_not_allow(
    proof: str, targets: tuple[str, ...], expected: list[tuple[str, str, str, str, str]], tmp_path: Path
) -> None:
    exchange = "{match: {host: a.example, pathPrefix: /%d}, action: exchange, exchange: {issuerRef: primary, %s}}"
    lines = [exchange % (number, target) for number, target in enumerate(targets)]
    files = {"policy": tmp_path / "policy.yaml", "issuers": tmp_path / "issuers.yaml"}
    files["policy"].write_text(config_map(entries(*lines, "{match: {host: elsewhere.test, pathPrefix: /}, action: deny}")))
    files["issuers"].write_text("issuers:\n" + PROVEN % proof)
    status, said = run(files["policy"], issuers=files["issuers"])
    assert status == any(severity != "notice" for _, severity, *_ in expected), said
    found = [line for line in said.splitlines() if re.search(r" POL-500[467]: ", line)]
    assert len(found) == len(expected)
    for line, (file, severity, code, at, words) in zip(found, expected, strict=True):
        path, row, column, rest = re.fullmatch(r"(.+?):(\d+):(\d+): (.+)", line).groups()  # type: ignore[union-attr]  # else the test fails
        assert path == str(files[file])
        assert rest.startswith(f"{severity} {code}: ")
        assert words in rest
        assert files[file].read_text().splitlines()[int(row) - 1][int(column) - 1 :].startswith(at)


def test_a_subject_of_opaque_tokens_cannot_be_compared(tmp_path: Path) -> None:
    exchange = "{match: {host: a.example, pathPrefix: /}, action: exchange, exchange: {issuerRef: primary, audiences: [a]}}"
    (tmp_path / "policy.yaml").write_text(config_map(entries(exchange)))
    issuers = tmp_path / "issuers.yaml"
    subject = "subjectToken: {issuers: ['https://a.example'], audiences: [b], introspection: {}}"
    issuers.write_text("issuers:\n" + PROVEN.replace("issuedToken", f"{subject}, issuedToken") % "subject: same")
    status, said = run(tmp_path / "policy.yaml", issuers=issuers)
    assert status == 1
    assert "warning POL-5012" in said
    assert "POL-5007" not in said


CHAIN = """issuers:
- {name: idp, tokenEndpoint: 'https://idp.example/t', clientID: gateway, clientSecret: canary%s}
- {name: chat, discovery: 'https://chat.example', clientID: c, clientSecret: canary, grantType: jwt-bearer, assertion: {from: idp%s}}
"""
TYPED = ", subjectToken: {type: urn:ietf:params:oauth:token-type:id_token}"


def test_audiences_for_a_chain_are_an_error(tmp_path: Path) -> None:
    match = "{match: {host: a.example, pathPrefix: /%s}, action: exchange, exchange: {issuerRef: chat, scope: s%s}}"
    lines = (match % ("a", ", audiences: [orders]"), match % ("b", ", resources: ['https://b.example']"))
    (tmp_path / "policy.yaml").write_text(config_map(entries(*lines)))
    issuers = tmp_path / "issuers.yaml"
    issuers.write_text(CHAIN % (TYPED, ""))
    status, said = run(tmp_path / "policy.yaml", issuers=issuers)
    assert status == 1
    column = len("      - ") + lines[0].index("[orders]") + 1
    assert f'policy.yaml:12:{column}: error POL-5008: entries[0].exchange.audiences cannot be requested: the issuer "chat"' in said
    assert said.count("error POL-5008") == 1


@pytest.mark.parametrize(
    ("first", "source", "said"),
    [
        (TYPED, "", 'assertion works only with ID tokens whose aud is "gateway", the client ID of the profile "idp"\n'),
        ("", "", 'the client ID of the profile "idp"; its subjectToken.type is not urn:ietf:params:oauth:token-type:id_token\n'),
        (TYPED, ", requestedTokenType: 'urn:ietf:params:oauth:token-type:jwt'", ""),
    ],
)
def test_whose_id_tokens_an_identity_provider_takes_is_a_notice(first: str, source: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(config_map(entries(DENY)))
    issuers = tmp_path / "issuers.yaml"
    issuers.write_text(CHAIN % (first, source))
    status, found = run(tmp_path / "policy.yaml", issuers=issuers)
    assert status == 0
    assert (said in found) if said else ("POL-5009" not in found)
    column = (CHAIN % (first, source)).splitlines()[2].index("{from") + 1
    assert found.count(f'issuers.yaml:3:{column}: notice POL-5009: issuer profile "chat" ') == bool(said)
    assert "canary" not in found


@contextlib.contextmanager
def publishing(**members: object) -> Generator[str]:
    """Run an issuer that publishes metadata with ``members``, which may replace its name."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"issuer": url, "token_endpoint": f"{url}/token", **members}).encode())

        def log_message(self, *_arguments: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


ID_JAG_TYPE = "urn:ietf:params:oauth:token-type:id-jag"
LISTED = "identity_chaining_requested_token_types_supported"


@pytest.mark.parametrize(
    ("members", "warns", "unknown"),
    [
        ({}, False, ""),
        ({LISTED: [ID_JAG_TYPE, 7]}, False, ""),
        ({LISTED: ["urn:ietf:params:oauth:token-type:jwt"]}, True, ""),
        ({LISTED: []}, True, ""),
        ({LISTED: "canary"}, False, ""),
        ({LISTED: [], "issuer": "https://other.example"}, False, "the metadata names another issuer"),
    ],
    ids=range(6),
)
def test_what_an_issuer_of_assertions_lists_is_compared(
    members: dict[str, object], warns: bool, unknown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.yaml").write_text(config_map(entries(DENY)))
    issuers = tmp_path / "issuers.yaml"
    with publishing(**members) as url:
        issuers.write_text((CHAIN % (TYPED, "")).replace("tokenEndpoint: 'https://idp.example/t'", f"discovery: '{url}'"))
        status, said = run(tmp_path / "policy.yaml", issuers=issuers)
    assert (status, said.count("warning POL-5010")) == (int(warns), int(warns))
    assert (f'"chat" assertion.requestedTokenType is {ID_JAG_TYPE}, which the issuer "idp" does not list' in said) is warns
    told = capsys.readouterr().err
    assert (f'what the issuer "idp" issues was not compared with assertion: {unknown}' in told) if unknown else told == ""


def test_an_issuer_that_cannot_be_reached_is_no_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.yaml").write_text(config_map(entries(DENY)))
    issuers = tmp_path / "issuers.yaml"
    with publishing() as url:
        pass
    issuers.write_text((CHAIN % (TYPED, "")).replace("tokenEndpoint: 'https://idp.example/t'", f"discovery: '{url}'"))
    assert run(tmp_path / "policy.yaml", issuers=issuers)[0] == 0
    assert 'what the issuer "idp" issues was not compared' in capsys.readouterr().err


@pytest.mark.parametrize("gateway", HttpGateway)
def test_profiles_that_do_not_fit_a_gateway_are_a_warning_each(tmp_path: Path, gateway: HttpGateway) -> None:
    (tmp_path / "policy.yaml").write_text(config_map(entries(DENY.replace("/orders", "/"))))
    known = '{name: %s, tokenEndpoint: "https://i.example.com/token", clientID: c, clientSecret: s%s}'
    profiles = [
        known % ("plain", ""),
        known % ("moved", ", subjectToken: {from: [{header: Authorization}, {header: X-User-Token}]}"),
        known % ("dropping", ", cache: {maxTTL: 5m, maxEntries: 100, evictRejected: true}"),
    ]
    (tmp_path / "issuers.yaml").write_text(f"issuers: [{', '.join(profiles)}]")
    status, said = run(tmp_path / "policy.yaml", issuers=tmp_path / "issuers.yaml", gateway=gateway)
    assert (status, said.count("warning POL-5011"), said.count("POL-5005")) == (1, 2, 0)
    assert '"moved" subjectToken.from lists x-user-token, which' in said
    assert f'"dropping" cache.evictRejected has no effect behind {gateway.value}' in said
    assert '"plain"' not in said
    assert run(tmp_path / "policy.yaml", issuers=tmp_path / "issuers.yaml")[0] == 0


def test_a_gateway_without_profiles_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.yaml").write_text(config_map(entries(DENY)))
    assert run(tmp_path / "policy.yaml", gateway=HttpGateway.NGINX)[0] == 2
    assert "--gateway needs --issuers" in capsys.readouterr().err


def test_issuers_and_grants_are_files(tmp_path: Path) -> None:
    text = "{match: {host: a, pathPrefix: /}, action: exchange, exchange: {issuerRef: primery, scope: s}}"
    (tmp_path / "policy.yaml").write_text(config_map(entries(text)))
    issuers, grants = tmp_path / "issuers.yml", tmp_path / "grants.yml"
    profile = "{name: primary, tokenEndpoint: https://a.example/t, clientID: c, clientSecret: canary}"
    issuers.write_text(f"issuers:\n- {profile}\n")
    assert "(did you mean primary?)" in run(tmp_path / "policy.yaml", issuers=issuers)[1]
    issuers.write_text(f"issuers:\n- {profile}\n- {{name: primary, tokenEndpoint: 'https://u:canary@a', clientSecret: canary}}\n")
    status, said = run(tmp_path / "policy.yaml", issuers=issuers)
    assert status == 1
    assert f"{issuers}:2:3: error POL-5002" in said or f"{issuers}:3:3: error POL-5002" in said
    assert "canary" not in said
    issuers.write_text("issuers: [")
    assert f"{issuers}:1:1: error POL-5001" in run(tmp_path / "policy.yaml", issuers=issuers)[1]
    grants.write_text("version: v1\ngrants:\n- {namespaces: [team], hosts: ['https://a']}\n")
    assert f"{grants}:3:31: error POL-4005" in run(tmp_path / "policy.yaml", grants=grants)[1]
    grants.write_text("version: v1\ngrants: []\n")
    assert "POL-2001" in run(tmp_path / "policy.yaml", grants=grants)[1]


def test_json_has_every_problem(wrong: Path) -> None:
    status, said = run(wrong, format=Format.JSON)
    found = json.loads(said)
    assert (status, found["files"], found["policies"], found["errors"], found["warnings"]) == (1, 1, 1, 1, 0)
    assert found["problems"][0] == {
        "code": "POL-1101",
        "severity": "error",
        "message": 'entries[0] has an unknown field "acton"',
        "hint": "action",
        "remedy": "Write action.",
        "file": str(wrong),
        "line": 12,
        "column": 63,
        "endColumn": 68,
        "policy": {"namespace": "team", "name": "policy"},
        "entry": 0,
        "field": "entries[0]",
        "related": [],
    }


def test_annotations_for_github_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a,b.yaml"
    path.write_text(config_map(entries(DENY.replace("/orders", '"/100%"'))))
    (command,) = run(path, format=Format.GITHUB)[1].splitlines()
    escaped = str(path).replace(",", "%2C")
    assert command.startswith(f"::error file={escaped},line=12,endLine=12,col=53,endColumn=60,title=POL-1310::")
    assert '"/100%25"' in command


def test_sarif_has_every_code_as_rule_and_every_problem_as_result(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(config_map(entries(DENY, DENY, WRONG, DENY.replace("/orders", "x"))))
    log = json.loads(run(tmp_path, format=Format.SARIF)[1])
    (run_,) = log["runs"]
    rules = run_["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [code.name for code in CODES if code.name.startswith("POL-")] == [code.name for code in RULES]
    assert log["version"] == "2.1.0"
    assert {result["level"] for result in run_["results"]} == {"error", "note"}
    for result in run_["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        region = result["locations"][0]["physicalLocation"]["region"]
        assert region["endColumn"] > region["startColumn"] >= 1
    assert run_["results"][0]["relatedLocations"]


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("clientSecret: hunter2", "hunter2"),
        ('{"password": "hunter2", "acton": 1}', "hunter2"),
        ("- {name: authorization, value: Bearer hunter2}", "hunter2"),
        ("- {value: 'a hunter2', name: cookie}", "hunter2"),
        ("host: https://user:hunter2@a.example", "hunter2"),
        ("url: https://a.example/?key=hunter2", "hunter2"),
        ("api-key:    hunter2", "hunter2"),
        ("x: eyJhbGciOiJIUzI1NiJ9.hunter2.sig", "hunter2"),
        ("access_token: hunter2", "hunter2"),
        ("token: hunter2", "hunter2"),
    ],
)
def test_a_secret_in_the_wrong_place_is_not_shown(tmp_path: Path, line: str, secret: str) -> None:
    assert secret not in redacted(line)
    document = f"version: v1\nentries:\n  - {line.removeprefix('- ')}\n    acton: deny\n"
    (tmp_path / "a.yaml").write_text(config_map(document))
    for form in Format:
        assert secret not in run(tmp_path, format=form)[1]
    assert secret not in run(tmp_path, suggest=True)[1]


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"# Source: chart/templates/policy.yaml\n---\n{config_map(entries(WRONG))}"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    status, said = run("-")
    assert status == 1
    assert "<stdin>:14:63: error POL-1101" in said


@pytest.mark.parametrize("more", [[], ["x", "--format", "xml"], ["x", "--format", "json", "--suggest"]])
def test_wrong_arguments_are_status_2(more: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", *more])
    assert ended.value.code == 2


def test_a_pipe_is_read_only_if_it_is_named(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(config_map(entries(WRONG)),))
    writer.start()
    assert "POL-1101" in run(pipe)[1]
    writer.join()
    assert run(tmp_path, allow_empty=True)[0] == 0


def test_a_named_file_may_be_a_policy_without_its_config_map(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(entries(DENY.replace("/orders", "/")))
    assert run(tmp_path / "a.yaml") == (0, "no problems in 1 file with 1 policy\n")
    assert run(tmp_path)[0] == 1


def test_each_report_has_what_comments_accept(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(config_map(entries(f"{DENY} # exchanger: ignore POL-2108")))
    assert run(tmp_path) == (0, "no problems, 1 ignored by comments in 1 file with 1 policy\n")
    said = json.loads(run(tmp_path, format=Format.JSON)[1])
    assert (said["problems"], [one["code"] for one in said["ignored"]]) == ([], ["POL-2108"])
    (result,) = json.loads(run(tmp_path, format=Format.SARIF)[1])["runs"][0]["results"]
    assert (result["ruleId"], result["suppressions"]) == ("POL-2108", [{"kind": "inSource"}])
    assert run(tmp_path, format=Format.GITHUB) == (0, "")
