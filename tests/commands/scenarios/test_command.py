"""``exchanger scenarios`` against a stand-in for a gateway: what it sends, says and ends with."""

import io
import json
import os
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trustme

from exchanger.commands.demo.servers import echo, serve_http
from exchanger.commands.demo.token_endpoint.fake import TokenEndpoint
from exchanger.commands.scenarios.command import run_scenarios
from exchanger.commands.scenarios.tokens import bearer_of, encode
from exchanger.net.http.message import Request, Response
from tests.commands.demo.test_token_endpoint import token_request
from tests.commands.scenarios.test_client import answering, server_context
from tests.commands.scenarios.test_options import options

OWN = encode({"iss": "https://login.example.com", "sub": "me", "exp": 4_102_444_800}) + "c2lnbmF0dXJl"
FILE = """
version: v1
scenarios:
  - name: exchanged
    watch: the upstream sees another token
    request: {host: a.example.com, path: /exchange}
    expect: {status: 200, upstream: {exchanged: {scope: "read:orders"}}}
  - name: passed-on
    watch: the upstream sees the same token
    request: {host: a.example.com, path: /pass}
    expect: {status: 200, upstream: original token}
  - name: expired
    watch: refused
    request: {host: a.example.com, path: /deny, subject: expired}
    expect: {status: 403, body: denied, content_type: text/plain}
  - name: equal
    watch: one token request
    request: {host: a.example.com, path: /equal}
    expect: {status: 200, upstream: {exchanged: {scope: "read:orders"}}}
    at_once: 3
  - name: edit
    watch: an edit
    request: {host: a.example.com, path: /exchange}
    expect: {status: 200, upstream: {exchanged: {scope: "read:orders"}}}
    edit: {file: a.yaml, old: a, new: b, expect: {status: 403}}
"""


@attrs.define(eq=False)
class Upstream:
    """Gateway, issuer and upstream in one: what it does is in the path."""

    issuer: TokenEndpoint = attrs.field(factory=TokenEndpoint)
    got: list[Request] = attrs.field(factory=list)
    issued: dict[str, Response] = attrs.field(factory=dict)
    flight: trio.Lock = attrs.field(factory=trio.Lock)
    hanging: trio.Event = attrs.field(factory=trio.Event)

    async def answer(self, request: Request) -> Response:
        self.got.append(request)
        token = bearer_of(request.value("authorization"))
        match request.target:
            case "/exchange" | "/equal":
                async with self.flight:
                    if token not in self.issued:
                        self.issued[token] = await self.issuer.answer(token_request(("scope", "read:orders"), subject_token=token))
                issued = json.loads(self.issued[token].body)["access_token"]
                return await echo(Request("GET", "/", (("authorization", f"Bearer {issued}"),)))
            case "/pass":
                return await echo(request)
            case "/hang":
                self.hanging.set()
                await trio.sleep_forever()
        return Response(403, (("Content-Type", "text/plain"),), b"denied")


@attrs.define(eq=False)
class Command:
    """One run: its arguments, and what it said."""

    port: int
    stats: int
    file: Path
    upstream: Upstream
    out: io.StringIO = attrs.field(factory=io.StringIO)
    err: io.StringIO = attrs.field(factory=io.StringIO)

    async def run(self, *arguments: str, **variables: str) -> int:
        common = ("--base-url", f"http://127.0.0.1:{self.port}", "--file", str(self.file), "--timeout", "30")
        status = await run_scenarios(options(*common, *arguments), variables, self.out, self.err)
        assert OWN not in self.said
        assert all(part not in self.said for part in OWN.split("."))
        return status

    @property
    def said(self) -> str:
        return self.out.getvalue() + self.err.getvalue()

    def rows(self) -> dict[str, str]:
        """The mark of each scenario in the table."""
        return {line.split()[1]: line.split()[0] for line in self.out.getvalue().splitlines() if line[:4] in {"ok  ", "FAIL", "skip"}}


@asynccontextmanager
async def command(folder: Path, text: str = FILE) -> AsyncIterator[Command]:
    file = folder / "own.yaml"
    file.write_text(text)
    upstream = Upstream()
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve_http, upstream.answer, "127.0.0.1", 0)
        stats: int = await nursery.start(serve_http, upstream.issuer.answer, "127.0.0.1", 0)
        yield Command(port, stats, file, upstream)
        nursery.cancel_scope.cancel()


async def test_a_run_against_a_gateway(tmp_path: Path) -> None:
    async with command(tmp_path) as here:
        assert await here.run() == 0
        assert here.rows() == {"exchanged": "ok", "passed-on": "ok", "expired": "ok", "equal": "skip", "edit": "skip"}
        assert "the token endpoint's counts cannot be seen" in here.said
        assert "the policy folder is not accessible" in here.said
        assert here.out.getvalue().endswith("\n3 of 3 as expected, 2 skipped\n")
        assert {request.value("host") for request in here.upstream.got} == {"a.example.com"}
        assert await here.run("--stats-url", f"http://127.0.0.1:{here.stats}/stats") == 0
        assert here.rows()["equal"] == "ok"
        here.out.truncate(here.out.seek(0))
        assert await here.run("--only", "passed-on") == 0
        assert list(here.rows()) == ["passed-on"]
        assert await here.run("--only", "equal", "edit") == 1, "to run nothing is not a success"
        assert "0 of 0 as expected, 2 skipped" in here.said
        assert await here.run("--only", "other") == 2
        assert "--only 'other': there is no such scenario" in here.err.getvalue()


async def test_a_users_own_token_relaxes_expectations_and_the_output_says_so(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{OWN}\n")
    async with command(tmp_path, FILE.replace("read:orders", "write:orders")) as here:
        assert await here.run("--token-env", "MINE", MINE=f"{OWN}\n") == 0
        assert here.rows() == {"exchanged": "ok", "passed-on": "ok", "expired": "skip", "equal": "skip", "edit": "skip"}
        assert await here.run("--token-file", str(tmp_path / "token"), "--only", "passed-on") == 0
        assert "With your own token, an exchange passes if the upstream sees another token than the one sent." in here.said
        assert {request.value("authorization") for request in here.upstream.got} == {f"Bearer {OWN}"}
        assert here.err.getvalue() == ""
        here.out.truncate(here.out.seek(0))
        assert await here.run("--json", "--token-env", "MINE", MINE=OWN) == 0
        assert json.loads(here.out.getvalue())["own_token"] is True


async def test_unexpected_response_is_status_1_with_a_trace_id(tmp_path: Path) -> None:
    async with command(tmp_path, FILE.replace("status: 403, body: denied", "status: 403, body: other")) as here:
        assert await here.run() == 1
        trace = here.upstream.got[-1].value("traceparent").split("-")[1]
        assert here.rows()["expired"] == "FAIL"
        assert f"trace    {trace}" in here.said
        assert "2 of 3 as expected, 2 skipped" in here.said
        here.out.truncate(here.out.seek(0))
        assert await here.run("--json") == 1
        report = json.loads(here.out.getvalue())
    assert (report["as_expected"], report["not_as_expected"], report["skipped"]) == (2, 1, 2)
    assert report["gateway"] == f"http://127.0.0.1:{here.port}"
    by_name = {each["name"]: each for each in report["scenarios"]}
    good, wrong, skipped = (True, False, False), (False, False, True), (None, True, False)
    shown = [(each["ok"], bool(each["skipped"]), bool(each["details"])) for each in by_name.values()]
    assert shown == [good, good, wrong, skipped, skipped]
    assert by_name["expired"]["trace_ids"] == [here.upstream.got[-1].value("traceparent").split("-")[1]]
    assert by_name["exchanged"]["expected"] == by_name["exchanged"]["got"] == "200 exchanged for scope read:orders"


async def test_a_list_is_shown_without_a_gateway(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(FILE)
    arguments = ("--list", "--file", str(tmp_path / "own.yaml"))
    text, data = io.StringIO(), io.StringIO()
    assert await run_scenarios(options(*arguments), {}, text) == await run_scenarios(options(*arguments, "--json"), {}, data) == 0
    assert text.getvalue().startswith("exchanged: the upstream sees another token\n  => 200 exchanged for scope read:orders\n  curl ")
    listed = json.loads(data.getvalue())["scenarios"]
    kinds = {"exchanged": "request", "passed-on": "request", "expired": "request", "equal": "equal", "edit": "edit"}
    assert {each["name"]: each["kind"] for each in listed} == kinds
    assert listed[2]["request"] == {"method": "GET", "host": "a.example.com", "path": "/deny", "headers": [], "subject": "expired"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--token-env", "MINE"), "--token-env MINE: there is no such variable"),
        (("--token-env", "EMPTY"), "--token-env EMPTY: holds no bearer token"),
        (("--token-env", "HEADER"), "--token-env HEADER: holds no bearer token"),
        (("--token-file", "{folder}/missing"), "--token-file {folder}/missing: No such file or directory"),
        (("--token-file", "{folder}/big"), "--token-file {folder}/big: is longer than 65536 bytes"),
        (("--file", "{folder}/latin"), "--file {folder}/latin: is not UTF-8"),
        (("--file", "{folder}"), "--file {folder}: Is a directory"),
        (("--file", "{folder}/wrong.yaml"), '--file {folder}/wrong.yaml: line 2: the file has an unknown field "extra"'),
        (("--base-url", "https://h", "--ca-file", "{folder}/missing"), "--ca-file {folder}/missing: No such file or directory"),
        (("--base-url", "https://h", "--ca-file", "{folder}/big"), "--ca-file {folder}/big: no certificate in PEM"),
        (("--ca-file", "{folder}/big"), "--ca-file is for a gateway with https"),
    ],
)
async def test_unusable_options_and_files_are_status_2_and_a_sentence_each(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "big").write_text("a" * 65_537)
    (tmp_path / "latin").write_bytes(b"\xe4")
    (tmp_path / "wrong.yaml").write_text("version: v1\nextra: 1\nscenarios: []\n")
    async with command(tmp_path) as here:
        told = tuple(argument.format(folder=tmp_path) for argument in arguments)
        assert await here.run(*told, EMPTY=" ", HEADER=f"Bearer {OWN}") == 2
    assert here.upstream.got == []
    assert here.err.getvalue().splitlines()[0].startswith(f"exchanger scenarios: {said.format(folder=tmp_path)}")
    assert here.out.getvalue() == ""


async def test_resolve_option_connects_elsewhere_with_the_gateways_own_name(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context: ssl.SSLContext = server_context(authority, "gateway.example.com")
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\ndenied"
    async with command(tmp_path) as here, answering(refusal, context) as port:
        secured = ("--base-url", f"https://gateway.example.com:{port}", "--resolve", "127.0.0.1", "--only", "expired")
        assert await here.run(*secured, "--ca-file", str(tmp_path / "ca.pem")) == 0
        assert f"Gateway: https://gateway.example.com:{port}\n" in here.said
        assert await here.run(*secured) == 1
        assert "the certificate of the server is refused: " in here.said


async def test_a_token_sent_without_tls_is_a_warning(tmp_path: Path) -> None:
    async with command(tmp_path) as here:
        remote = ("--base-url", "http://no.such.name.invalid", "--only", "passed-on")
        assert await here.run(*remote, "--token-env", "MINE", MINE=OWN) == 1
        assert here.err.getvalue() == "exchanger scenarios: your token is sent without TLS\n"
        here.err.truncate(here.err.seek(0))
        assert await here.run(*remote) == 1
        assert await here.run(*remote[:2], "--resolve", "127.0.0.1", *remote[2:], "--token-env", "MINE", MINE=OWN) == 1
        assert here.err.getvalue() == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_at_once(number: signal.Signals, tmp_path: Path) -> None:
    async with command(tmp_path, FILE.replace("/pass", "/hang")) as here, trio.open_nursery() as nursery:

        async def interrupt() -> None:
            await here.upstream.hanging.wait()
            os.kill(os.getpid(), number)

        nursery.start_soon(interrupt)
        assert await here.run() == 128 + number
    assert list(here.rows()) == ["exchanged"]


async def test_a_closed_output_is_status_1(tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def write(self, text: str, /) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    async with command(tmp_path) as here:
        here.out = Closed()
        assert await here.run() == 1


GO_FILE = """
version: v1
scenarios:
  - name: passed-on
    request: {path: /pass, token: {prefill: literal, value: "{{ .BearerToken }}"}}
    behavior: {summary: "to {{ .BaseURLHost }}", detail: "{{ .NamespacePrefix }} {{ .SystemNamespace }}"}
    expect: {upstreamAuthorization: "Bearer {{ .BearerToken }}"}
  - name: refused
    request: {path: /deny, token: {prefill: none}}
    behavior: {summary: refused, detail: always}
    expect: {status: 403}
  - name: not as expected
    request: {path: /pass, token: {prefill: literal, value: other-token}}
    behavior: {summary: another token, detail: than expected}
    expect: {upstreamAuthorization: "Bearer {{ .BearerToken }}"}
  - name: keycloak
    request: {path: /pass, token: {prefill: keycloak-subject}}
    behavior: {summary: skipped, detail: without a token}
"""


async def test_a_file_of_the_go_project_with_its_variables(tmp_path: Path) -> None:
    async with command(tmp_path, GO_FILE) as here:
        variables = {
            "DEMO_BASE_URL": f"http://127.0.0.1:{here.port}/",
            "DEMO_SCENARIO_CONFIG": str(here.file),
            "DEMO_BEARER_TOKEN": OWN,
            "DEMO_INSECURE_SKIP_VERIFY": "true",
        }
        assert await run_scenarios(options(), variables, here.out, here.err) == 1
        assert [line[:20] for line in here.out.getvalue().splitlines() if line[:4] in {"ok  ", "FAIL", "skip"}] == [
            "ok   passed-on      ",
            "ok   refused        ",
            "FAIL not as expected",
            "skip keycloak       ",
        ]
        assert "upstream Authorization: not the expected one" in here.said
        assert "DEMO_INSECURE_SKIP_VERIFY has no effect" in here.err.getvalue()
        assert {request.value("host") for request in here.upstream.got} == {f"127.0.0.1:{here.port}"}
        assert not any(token in here.said for token in (OWN, "other-token"))
        # A user's own token is sent instead, and is what the upstream has to see; the scenario that needs a real one has it.
        here.upstream.got.clear()
        assert await here.run("--token-env", "MINE", "--only", "passed-on", "keycloak", MINE=OWN, DEMO_BEARER_TOKEN="in-the-file") == 0
        assert {request.value("authorization") for request in here.upstream.got} == {f"Bearer {OWN}"}


async def test_an_unusable_base_url_in_the_environment_is_not_repeated(tmp_path: Path) -> None:
    async with command(tmp_path, GO_FILE) as here:
        assert await run_scenarios(options(), {"DEMO_BASE_URL": "https://user:canary@h"}, here.out, here.err) == 2
        assert "DEMO_BASE_URL: the URL must have neither credentials nor a query" in here.err.getvalue()
        assert "canary" not in here.said
