"""``exchanger explain``: the same words whether by manifests or by a running service, and no credential that is sent or printed."""

import io
import json
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from exchanger.commands.explain import NO_TELLING, PASSES, REFUSED, ExplainOptions, console_target, run_explain
from exchanger.commands.offline.inputs import PolicyInputs
from exchanger.commands.policies import policy_of_paths
from exchanger.commands.question import Question, read_question
from exchanger.operations.console.access import ConsoleSettings
from exchanger.policy.current import CurrentPolicy
from tests.commands.examples import GRANTS, ISSUERS, ORDERS, config_map, written
from tests.operations.console.running import dead_port, running
from tests.sources.kube.cluster import Cluster, deny
from tests.sources.kube.kubeconfig import write_kubeconfig

BROKEN = """\
      - match: {host: orders.example.com, pathPrefix: /broken}
        action: exchange
"""
ADMIN = "https://orders.example.com/orders/admin"


async def run(options: ExplainOptions, **variables: str) -> tuple[int, str]:
    out = io.StringIO()
    return await run_explain(options, variables, out), out.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return written(tmp_path, "m/a.yaml", config_map(ORDERS + BROKEN))


async def test_an_exchange_is_explained(path: str, tmp_path: Path) -> None:
    issuers = Path(written(tmp_path, "issuers.yaml", ISSUERS))
    status, said = await run(ExplainOptions("get", "https://orders.example.com/orders/1", policy=(path,), issuers=issuers))
    assert status == PASSES
    assert said == (
        "GET https://orders.example.com/orders/1\n"
        "\n"
        "exchange: an entry asks for an exchange: the request passes with the token that the issuer returns\n"
        "  by        team-orders/orders entries[0]\n"
        "  issuer    primary (login.example.com)\n"
        "  scope     read:orders list\n"
        "  audience  orders-api\n"
        "\n"
        "Interpretations of the path\n"
        "  /orders/1\n"
        "\n"
        "Entries considered, nearest first\n"
        f"  won       team-orders/orders entries[0], exchange, {path}:11\n"
        "            orders.example.com /orders, GET\n"
        "            the longest pathPrefix that matches host and method\n"
    )


async def test_a_policy_in_a_file_of_its_own_is_explained(tmp_path: Path) -> None:
    path = written(tmp_path, "two.yaml", "version: v1\nentries:\n  - match: {host: a, path: /x}\n    action: deny\n")
    status, said = await run(ExplainOptions("get", "https://a/x", policy=(path,)))
    assert status == REFUSED
    assert f"  by        {path} entries[0]\n" in said
    assert f"  blocks    {path} entries[0], invalid, {path}:3\n" in said
    assert "(did you mean pathPrefix?)" in said


@pytest.mark.parametrize("name", ["a.yaml", ""])
async def test_broken_yaml_is_explained_with_the_hint_of_check(name: str, tmp_path: Path) -> None:
    written(tmp_path, "m/a.yaml", "version: v1\nentries:\n  - exchange: {scope: read: orders}\n")
    status, said = await run(ExplainOptions("get", "https://a/x", policy=(str(tmp_path / "m" / name),)))
    assert status == REFUSED
    assert ', line 3 (did you mean "read: orders"?)\n' in said


async def test_the_metadata_of_an_entry_is_told_with_its_exchange(tmp_path: Path) -> None:
    url = "https://orders.example.com/.well-known/oauth-protected-resource"
    text = config_map(ORDERS.replace("audiences: [orders-api]", f"resourceMetadata: {url}"))
    options = ExplainOptions("get", "https://orders.example.com/orders/1", policy=(written(tmp_path, "m/a.yaml", text),))
    status, said = await run(options)
    assert status == PASSES
    assert f"  issuer    primary\n  scope     read:orders list\n  metadata  {url}\n\n" in said
    shown = json.loads((await run(attrs.evolve(options, json=True)))[1])
    assert shown["decision"]["exchange"]["resource_metadata"] == url
    assert [one["resource_metadata"] for one in shown["candidates"]] == [url]


@pytest.mark.parametrize(
    ("url", "headers", "status", "said"),
    [
        (ADMIN, (), REFUSED, "deny (403): an entry denies the request\n  by        team-orders/orders entries[1]\n"),
        ("https://orders.example.com/orders/%61dmin", (), REFUSED, "Interpretations of the path\n  /orders/%61dmin\n  /orders/admin\n"),
        ("https://orders.example.com/broken/x", (), REFUSED, "refused (500): entries[3]"),
        ("https://orders.example.com/broken/x", (), REFUSED, "  blocks    team-orders/orders entries[3], invalid"),
        ("https://nobody.example.org/", (), PASSES, "unmatched: no entry applies, so the request passes unchanged\n\nInterpretations"),
        ("https://nobody.example.org/", (), PASSES, "  /\n\nNo entry covers this path.\n"),
        ("https://x.example.com/mcp", ("Mcp-Name: drop",), REFUSED, "deny (403)"),
        ("https://x.example.com/mcp", ("Mcp-Name: drop, x",), REFUSED, "refused (400): the header cannot be read"),
        ("https://x.example.com/mcp", (), PASSES, "the request does not have its headers (mcp-name) with their values"),
        ("https://orders.example.com/orders", ("Authorization:",), REFUSED, "refused (401): an entry asks for an exchange, and the"),
    ],
)
async def test_each_decision_has_its_words_and_status(path: str, url: str, headers: tuple[str, ...], status: int, said: str) -> None:
    found = await run(ExplainOptions("GET", url, headers, policy=(path,)))
    assert found[0] == status
    assert said in found[1]


async def test_the_platform_s_baseline_is_named(path: str, tmp_path: Path) -> None:
    grants = Path(written(tmp_path, "grants.yaml", GRANTS))
    status, said = await run(ExplainOptions("GET", "https://orders.example.com/internal/x", policy=(path,), grants=grants))
    assert status == REFUSED
    assert "deny (403): the platform's baseline denies the request before any policy applies\n  by        baseline [0]\n" in said


async def test_a_required_policy_that_is_missing_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = written(tmp_path, "a.yaml", "")
    status, said = await run(ExplainOptions("GET", ADMIN, policy=(empty,)), POLICY_REQUIRED="true")
    assert status == REFUSED
    assert "refused (500)" in said
    assert "is empty" in capsys.readouterr().err


async def test_a_token_is_never_printed(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        for url in ("https://orders.example.com/orders", "https://orders.example.com/broken"):
            options = ExplainOptions("GET", url, ("Authorization: Bearer canary", "Cookie: canary"), policy=(path,), json=as_json)
            _, said = await run(options)
            assert "canary" not in said + capsys.readouterr().err + repr(options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ExplainOptions("GET", "/x", policy=("x",)), "the URL has no host"),
        (ExplainOptions("GET", ADMIN, policy=("/nowhere",)), "/nowhere cannot be read: No such file or directory"),
        (ExplainOptions("GET", ADMIN, console="ftp://x"), "--console must be a URL"),
        (ExplainOptions("GET", ADMIN, console="http://[x"), "--console must be a URL"),
        (ExplainOptions("GET", ADMIN, console="http://a:1/x"), "--console must be a URL"),
        (ExplainOptions("GET", ADMIN, console="http://a:hunter2@b/"), "--console must be a URL"),
        (ExplainOptions("GET", ADMIN, console="http://a.example", console_token_file=Path("/nowhere")), "/nowhere cannot be read"),
        (ExplainOptions("GET", ADMIN, cluster=True, kubeconfig="/nowhere"), "kubeconfig file at /nowhere"),
    ],
)
async def test_what_cannot_be_answered_is_status_2(options: ExplainOptions, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run(options, KUBECONFIG="/nowhere") == (NO_TELLING, "")
    found = capsys.readouterr().err
    assert said in found
    assert "hunter2" not in found


async def test_a_cluster_is_read_by_the_service_s_own_variables(capsys: pytest.CaptureFixture[str]) -> None:
    options = ExplainOptions("GET", ADMIN, cluster=True)
    assert await run(options, POLICY_GRANTS_FILE="/nowhere", KUBECONFIG="/nowhere") == (NO_TELLING, "")
    assert "POLICY_GRANTS_FILE /nowhere cannot be read" in capsys.readouterr().err


async def test_policy_of_a_cluster_is_explained_with_the_configured_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    cluster.put_namespace("team")
    cluster.put("team", "orders", f"version: v1\nentries:\n{ORDERS}")
    cluster.put("elsewhere", "orders", deny())
    monkeypatch.setattr("exchanger.sources.kube.api.resource.PolicyListWatches", lambda _connection: cluster)
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1", {})
    options = ExplainOptions("GET", "https://orders.example.com/orders/1", cluster=True, kubeconfig=str(kubeconfig), json=True)
    selectors = {"CONFIGMAP_NAMESPACE_SELECTOR": "policy=enabled", "CONFIGMAP_LABEL_SELECTOR": "enabled"}
    told = {}
    for name in ("primary", "other"):
        issuers = written(tmp_path, f"{name}.yaml", ISSUERS.replace("primary", name))
        status, said = await run(options, TOKEN_EXCHANGE_ISSUER_PROFILES_FILE=issuers, **selectors)
        told[name] = (status, json.loads(said)["decision"]["status"])
        assert cluster.asked[-2:] == ["namespaces policy in (enabled)", "configmaps enabled in all"]
    assert told == {"primary": (PASSES, None), "other": (REFUSED, 500)}


async def test_the_console_s_token_is_not_sent_in_plain_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = Path(written(tmp_path, "token", "a-token-for-the-console"))
    assert await run(ExplainOptions("GET", ADMIN, console="http://192.0.2.1:3003", console_token_file=token)) == (NO_TELLING, "")
    assert "only over https" in capsys.readouterr().err


PROFILE = """\
issuers:
  - name: primary
    tokenEndpoint: https://login.example.com/token
    clientID: exchanger
    clientSecret: not-a-secret-of-anybody
    parameters: {canary: canary}
    actorToken: {clientCredentials: {scope: act}}
    subjectToken:
      from: [{header: Authorization}, {header: X-Forwarded-Access-Token}]
      issuers: [https://idp.example.com]
      audiences: [gateway]
    errors: strict
"""
LINES = """\
  audience  orders-api
  token     read from authorization or x-forwarded-access-token, which must hold the same token
  checked   before anything is asked: issued by https://idp.example.com, for gateway
  actor     this client (client credentials) with the scope act
  errors    strict: 401 and 403 for the caller's errors, 5xx for all others

"""
ORDER = "https://orders.example.com/orders/1?x=a%20b&y=ü"
SAME = ("Authorization: Bearer canary", "X-Forwarded-Access-Token: canary")


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ((), PASSES, LINES),
        (SAME, PASSES, LINES),
        (("X-Forwarded-Access-Token: canary",), PASSES, LINES),
        (("Authorization: Bearer canary", "X-Forwarded-Access-Token: canary2"), REFUSED, "refused (400): the headers that may hold"),
        (("Authorization:",), REFUSED, "no bearer token; it is read from authorization or x-forwarded-access-token\n"),
        ((*SAME, "X-Forwarded-Access-Token: canary"), REFUSED, "token is malformed; it is read from"),
    ],
)
async def test_explain_says_the_same_offline_and_from_a_console(
    path: str, tmp_path: Path, headers: tuple[str, ...], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    issuers = Path(written(tmp_path, "issuers.yaml", PROFILE))
    options = ExplainOptions("GET", ORDER, headers, policy=(path,), issuers=issuers)
    told = await run(options)
    assert told[0] == status
    assert said in told[1]
    assert "canary" not in told[1]
    policy = policy_of_paths((path,), PolicyInputs(issuers), {})
    current = CurrentPolicy()
    current.publish(policy.newest)
    token = Path(written(tmp_path, "token", "a-token-for-the-console"))
    async with running(ConsoleSettings(port=0, token_file=token), current, rules=policy.rules) as console:
        address = f"http://127.0.0.1:{console.port}"
        here = attrs.evolve(options, json=True)
        there = attrs.evolve(here, policy=(), console=address, console_token_file=token)
        (status_here, said_here), (status_there, said_there) = await run(here), await run(there)
        shown = json.loads(said_here)
        assert [one.pop("at") for one in shown["candidates"]]  # the service does not know the files
        assert (status_here, shown) == (status_there, json.loads(said_there))
    question = read_question("GET", ORDER, headers)
    assert isinstance(question, Question)
    assert "canary" not in console_target(question)
    assert ("x-forwarded-access-token: the value may be a token" in capsys.readouterr().err) == (len(headers) > 0 and "X-F" in str(headers))


async def test_long_labels_make_the_column_wider(path: str, tmp_path: Path) -> None:
    issuers = written(tmp_path, "issuers.yaml", f"{PROFILE}    cache: {{maxTTL: 5m, maxEntries: 100, evictRejected: true}}\n")
    _, told = await run(ExplainOptions("GET", ORDER, SAME, policy=(path,), issuers=Path(issuers)))
    assert "\n  by             team-orders/orders entries[0]\n" in told
    assert "\n  refused tokens dropped from the cache if an upstream refuses them" in told


async def test_a_console_gets_no_credential_and_its_nonsense_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    got = bytearray()
    answers: list[bytes] = [b"[]", b"{", b'{"decision": 5}', b'{"decision": {"passes": true}}', b"{}"]

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            while b"\r\n\r\n" not in bytes(got[-4096:]).partition(b"GET ")[2]:
                got.extend(await stream.receive_some(65536))
            body = answers.pop(0)
            got.extend(b"\r\n--\r\n")
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        address = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        headers = ("Authorization: Bearer canary", "Cookie: canary", "Proxy-Authorization: canary", "X-One: kept")
        while answers:
            got.clear()
            options: Any = ExplainOptions("GET", "https://a.example/x", headers, console=address)
            assert await run(options) == (NO_TELLING, "")
            said = capsys.readouterr().err
            assert "is it another version?" in said or "is it an older version?" in said
            assert b"header=x-one%3A+kept" in got
            assert b"credentials=bearer" in got
            assert b"canary" not in got
        nursery.cancel_scope.cancel()


async def test_a_console_that_does_not_answer_or_refuses_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with dead_port() as port:
        assert (await run(ExplainOptions("GET", ADMIN, console=f"http://127.0.0.1:{port}")))[0] == NO_TELLING
    assert "cannot be reached" in capsys.readouterr().err
    token = Path(written(tmp_path, "token", "a-token-for-the-console"))
    async with running(ConsoleSettings(port=0, token_file=token)) as console:
        assert (await run(ExplainOptions("GET", ADMIN, console=f"http://127.0.0.1:{console.port}")))[0] == NO_TELLING
    assert "answered 401: sign in with the console's token" in capsys.readouterr().err
