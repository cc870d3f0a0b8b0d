import json
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from exchanger.model.entry import DenyEntry, MatchScope, Source
from exchanger.model.issuer import SubjectRules
from exchanger.model.notice import Notice, Notices
from exchanger.net.http.message import Request, Response
from exchanger.operations.console import api
from exchanger.operations.console.access import ConsoleAccess
from exchanger.operations.console.api import MAX_DOCUMENTS, MAX_HOSTS, MAX_PATH, Api, ConsoleFacts, PolicyNow
from exchanger.operations.console.message import TimeSlice
from exchanger.operations.console.policy_view import Lines, claims_of, shown_document, shown_problem
from exchanger.policy.conflicts import documents_in_conflict
from exchanger.policy.current import CurrentPolicy
from exchanger.policy.documents.document import PolicyDocument, entry_lines, parse_document
from exchanger.policy.explanation import MAX_CANDIDATES
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.selection import Text, advance
from exchanger.policy.snapshot import PolicySnapshot
from tests.authz.decision.examples import PRIMARY, RULES
from tests.operations.console.running import running

ISSUERS = frozenset({"primary"})
ORDERS = """\
version: v1
entries:
  - match: {host: api.example.com, pathPrefix: /orders, methods: [POST, GET]}
    action: exchange
    exchange: {issuerRef: primary, scope: read:orders, resources: [https://api.example.com], audiences: [orders]}

  - match: {host: api.example.com, pathPrefix: /admin}
    action: deny
"""
BROKEN = """\
version: v1
entries:
  - match: {host: broken.example.com, pathPrefix: /}
    action: exchnge
"""


def policy(**documents: str) -> CurrentPolicy:
    snapshot = PolicySnapshot.EMPTY
    for name, text in documents.items():
        namespace, _, own = name.partition("__")
        source = Source(namespace, own)
        snapshot = snapshot.changed({source: parse_document(source, text, ISSUERS)})
    current = CurrentPolicy()
    current.snapshot = snapshot
    return current


def api_of(snapshot: PolicySnapshot | None) -> Api:
    return Api(ConsoleFacts("1.2.3", "directory"), lambda: PolicyNow(snapshot, 7), ConsoleAccess())


async def test_about_says_what_this_is() -> None:
    async with running() as console:
        answer = await console.get("/api/about")

    assert answer.json == {
        "version": "1.2.3",
        "mode": "service",
        "shows_tokens": False,
        "lab": False,
        "token_required": False,
        "policy_source": "directory",
    }
    assert answer.header("cache-control") == "no-store"


async def test_before_there_is_a_policy_nothing_is_ready() -> None:
    async with running() as console:
        listed = (await console.get("/api/policy")).json
        explained = (await console.get("/api/explain?method=GET&host=a&path=/?token=canary")).json
        missing = await console.get("/api/policy/document?namespace=a&name=b")

    nothing = {"entries": 0, "invalid_documents": 0, "more": 0, "notices": {"listed": [], "more": 0}, "namespaces": []}
    assert listed == {"revision": 0, "ready": False, **nothing}
    assert explained["verdict"] == {"kind": "unhealthy", "policy": None, "reason": "no complete policy has been loaded yet"}
    assert (explained["decision"]["kind"], explained["decision"]["status"], explained["readings"]) == ("refused", 500, ["/"])
    assert missing.status == 404


async def test_documents_are_listed_with_their_health() -> None:
    documents = {
        "b__orders": ORDERS,
        "a__broken": BROKEN,
        "a__orders": ORDERS,
        "c__other": ORDERS.replace("api.", "other.").replace("/admin", "/x"),
    }
    async with running(policy=policy(**documents)) as console:
        assert console.policy.snapshot is not None
        console.policy.publish(console.policy.snapshot)
        answer = (await console.get("/api/policy")).json

    assert answer["revision"] == 1
    assert (answer["ready"], answer["entries"], answer["invalid_documents"], answer["more"]) == (True, 6, 1, 0)
    assert [(space["name"], [document["name"] for document in space["documents"]]) for space in answer["namespaces"]] == [
        ("a", ["broken", "orders"]),
        ("b", ["orders"]),
        ("c", ["other"]),
    ]
    health = [[document["health"] for document in space["documents"]] for space in answer["namespaces"]]
    assert health == [["problems", "conflicts"], ["conflicts"], ["ok"]]
    (problem,) = answer["namespaces"][0]["documents"][0]["problems"]
    assert (problem["entry"], problem["line"]) == (0, 4)
    assert problem["column"] > 1
    assert "action" in problem["reason"]


async def test_suggested_hosts_are_bounded_and_without_wildcards() -> None:
    async def hosts(snapshot: PolicySnapshot | None) -> Any:
        return json.loads((await api_of(snapshot).hosts(Request("GET", "/api/hosts"))).body)

    two = policy(a__x=ORDERS + "  - match: {host: '*.example.org', pathPrefix: /}\n    action: deny\n", b__x=BROKEN).snapshot
    assert await hosts(None) == {"listed": [], "more": 0}
    assert await hosts(two) == {"listed": ["api.example.com", "broken.example.com"], "more": 0}
    entries = "".join(f"  - match: {{host: h{number}.example.com, pathPrefix: /}}\n    action: deny\n" for number in range(MAX_HOSTS + 7))
    found = await hosts(policy(a__x=f"version: v1\nentries:\n{entries}").snapshot)
    assert (len(set(found["listed"])), found["listed"], found["more"]) == (MAX_HOSTS, sorted(found["listed"]), 7)


async def test_document_is_shown_with_its_lines_and_conflicts() -> None:
    async with running(policy=policy(a__orders=ORDERS, b__orders=ORDERS)) as console:
        answer = (await console.get("/api/policy/document?name=orders&namespace=a")).json
        tie = (await console.get("/api/explain?method=GET&host=api.example.com&path=/orders")).json

    assert (tie["verdict"]["kind"], tie["verdict"]["policy"]) == ("unhealthy", None)
    assert [candidate["outcome"] for candidate in tie["candidates"]] == ["conflict", "conflict"]
    assert (answer["namespace"], answer["name"], answer["text"], answer["problems"]) == ("a", "orders", ORDERS, [])
    assert answer["entries"][0] == {
        "namespace": "a",
        "name": "orders",
        "entry": 0,
        "line": 3,
        "end_line": 5,
        "action": "exchange",
        "host": "api.example.com",
        "path_prefix": "/orders",
        "path_type": "Prefix",
        "headers": [],
        "case_insensitive": False,
        "methods": ["GET", "POST"],
        "issuer": "primary",
        "scope": "read:orders",
        "resources": ["https://api.example.com"],
        "audiences": ["orders"],
        "resource_metadata": "",
        "conflicts": [{"namespace": "b", "name": "orders", "entry": 0}],
    }
    deny = answer["entries"][1]
    assert (deny["action"], deny["host"], deny["methods"], deny["line"], deny["end_line"]) == ("deny", "api.example.com", None, 7, 8)


async def test_an_invalid_entry_and_an_unreadable_document_are_shown_as_such() -> None:
    async with running(policy=policy(a__broken=BROKEN, a__unreadable="[")) as console:
        broken = (await console.get("/api/policy/document?namespace=a&name=broken")).json
        unreadable = (await console.get("/api/policy/document?namespace=a&name=unreadable")).json

    assert [(entry["action"], entry["line"], entry["host"]) for entry in broken["entries"]] == [("invalid", 3, "broken.example.com")]
    assert len(broken["problems"]) == 1
    assert unreadable["entries"] == []
    assert [problem["entry"] for problem in unreadable["problems"]] == [None]


def noting(parsed: list[str]) -> Callable[[str], Lines]:
    """Return ``entry_lines`` that notes its texts."""

    def noted(text: str) -> Lines:
        parsed.append(text)
        return entry_lines(text)

    return noted


async def test_lines_are_looked_up_once_for_each_version(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    monkeypatch.setattr(api, "entry_lines", noting(parsed))
    current = policy(a__orders=ORDERS, a__broken=BROKEN)
    console = Api(ConsoleFacts("1.2.3", "directory"), lambda: PolicyNow(current.snapshot, 7), ConsoleAccess())
    for _ in range(3):
        await console.explain(Request("GET", "/?method=GET&host=api.example.com&path=/orders"))
        await console.document(Request("GET", "/?namespace=a&name=orders"))
    assert parsed == [ORDERS]

    newer = f"# newer\n{ORDERS}"
    assert current.snapshot is not None
    source = Source("a", "orders")
    current.snapshot = current.snapshot.changed({source: parse_document(source, newer, ISSUERS)})
    answer = await console.document(Request("GET", "/?namespace=a&name=orders"))
    assert parsed == [ORDERS, newer]
    assert json.loads(answer.body)["entries"][0]["line"] == 4


async def test_the_lines_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    monkeypatch.setattr(api, "MAX_KEPT_LINES", 3)
    monkeypatch.setattr(api, "entry_lines", noting(parsed))
    console = api_of(policy(a__p1=ORDERS, a__p2=ORDERS, a__p3=ORDERS).snapshot)
    for name, count in (("p1", 1), ("p2", 2), ("p3", 3), ("p3", 3), ("p1", 4)):  # the third one takes the place of the others
        await console.document(Request("GET", f"/?namespace=a&name={name}"))
        assert len(parsed) == count


async def test_a_document_without_text_has_no_lines() -> None:
    document = PolicyDocument(Source("a", "b"), (DenyEntry(Source("a", "b"), 0, MatchScope("h", "/x")),))
    answer = await api_of(PolicySnapshot.EMPTY.changed({document.source: document})).document(Request("GET", "/?namespace=a&name=b"))

    assert b'"text":null' in answer.body
    assert b'"line":null' in answer.body


@pytest.mark.parametrize(
    ("handler", "query"),
    [
        (Api.document, ""),
        (Api.document, "namespace=a"),
        (Api.document, "namespace=a&name=b&name=c"),
        (Api.document, "&".join(["namespace=a&name=b"] * 20)),
        (Api.document, "x" * 100_000),
        (Api.explain, "method=GET&host=a"),
        (Api.explain, "method=&host=a&path=/"),
        (Api.explain, f"method={'G' * 33}&host=a&path=/"),
        (Api.explain, f"method=GET&host={'a' * 256}&path=/"),
        (Api.explain, f"method=GET&host=a&path={'/' * (MAX_PATH + 1)}"),
    ],
    ids=range(10),
)
async def test_a_query_names_everything_once_and_at_a_usual_length(
    handler: Callable[[Api, Request], Awaitable[Response]], query: str
) -> None:
    assert (await handler(api_of(PolicySnapshot.EMPTY), Request("GET", f"/?{query}"))).status == 400


@pytest.mark.parametrize(
    ("raw", "kind", "readings"),
    [("", "ambiguous", ["/adm!in", "/admin"]), ("&raw=true", "no_match", ["/adm!in"]), ("&raw=1", "ambiguous", ["/adm!in", "/admin"])],
)
async def test_a_path_is_read_without_its_marks_unless_it_is_raw(raw: str, kind: str, readings: list[str]) -> None:
    async with running(policy=policy(a__orders=ORDERS)) as console:
        answer = (await console.get(f"/api/explain?method=GET&host=api.example.com&path=/adm!in{raw}")).json

    assert (answer["verdict"]["kind"], answer["readings"]) == (kind, readings)


async def test_a_list_is_made_once_for_each_version(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0

    async def step(_self: TimeSlice) -> None:
        nonlocal steps
        steps += 1
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(TimeSlice, "step", step)
    now = PolicyNow(policy(a__orders=ORDERS).snapshot, 7)
    console = Api(ConsoleFacts("1.2.3", "directory"), lambda: now, ConsoleAccess())
    first = (await console.policy(Request("GET", "/"))).body
    made = steps
    assert (await console.policy(Request("GET", "/"))).body == first
    assert steps == made > 0
    now = PolicyNow(now.snapshot, 8)
    assert json.loads((await console.policy(Request("GET", "/"))).body)["revision"] == 8
    assert steps == 2 * made


def many(count: int) -> PolicySnapshot:
    snapshot = PolicySnapshot.EMPTY
    for number in range(count):
        source = Source(f"team-{number % 97:03}", f"policy-{number:06}")
        text = BROKEN if number == count - 1 else None
        entries = (DenyEntry(source, 0, MatchScope(f"host-{number // 10}.example.com", f"/{number}")),)
        snapshot = snapshot.changed({source: parse_document(source, text, ISSUERS) if text else PolicyDocument(source, entries)})
    return snapshot


async def test_long_list_is_made_in_slices_with_unhealthy_documents_first(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0

    async def step(_self: TimeSlice) -> None:
        nonlocal steps
        steps += 1
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(TimeSlice, "step", step)
    snapshot = many(MAX_DOCUMENTS + 50)
    answer = json.loads((await api_of(snapshot).policy(Request("GET", "/"))).body)
    names = [document["name"] for space in answer["namespaces"] for document in space["documents"]]
    spaces = [space["name"] for space in answer["namespaces"]]

    assert answer["more"] == 50
    assert len(names) == MAX_DOCUMENTS
    assert f"policy-{MAX_DOCUMENTS + 49:06}" in names
    assert spaces == sorted(spaces)
    # One for each conflict that is found, for each document, and for each that is listed.
    assert steps == len(list(documents_in_conflict(snapshot))) + snapshot.document_count + MAX_DOCUMENTS


async def test_an_explanation_takes_from_a_policy_of_one_host_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    monkeypatch.setattr(api, "entry_lines", noting(parsed))
    snapshot = policy(**{f"a__p{number}": ORDERS for number in range(60)}).snapshot
    await api_of(snapshot).explain(Request("GET", "/?method=GET&host=api.example.com&path=/orders"))
    assert 0 < len(parsed) <= MAX_CANDIDATES


async def test_list_has_probable_mistakes_and_a_missing_policy_is_not_ready() -> None:
    async with running(policy=CurrentPolicy(required=True)) as console:
        console.policy.publish(PolicySnapshot.EMPTY)
        before = (await console.get("/api/policy")).json
        explained = (await console.get("/api/explain?method=GET&host=a&path=/")).json
        console.policy.notices = Notices((Notice("policy", "is not active", "write one"),), 2)
        after = (await console.get("/api/policy")).json
    assert (before["ready"], before["notices"]) == (False, {"listed": [], "more": 0})
    assert explained["verdict"]["reason"] == "a policy is required, and no entry is active"
    # Those of two places, here twice the same.
    assert after["notices"] == {
        "listed": [{"code": None, "subject": "policy", "text": "is not active", "remedy": "write one"}] * 2,
        "more": 4,
    }


def test_an_entry_for_several_hosts_is_one_problem_and_shows_each_host() -> None:
    entry = "- {{match: {{host: '{}', pathPrefix: {}}}, action: deny}}\n"
    source, text = Source("a", "b"), f"version: v1\nentries:\n{entry.format('a,b', '/x')}{entry.format('c', '/*')}"
    document = PolicySnapshot.EMPTY.changed({source: parse_document(source, text, ISSUERS)}).document(source)
    assert document is not None
    shown = [shown_problem(closed_scope) for closed_scope in document.problems]

    assert [(problem["entry"], problem["line"]) for problem in shown] == [(0, 3), (1, 4)]
    assert shown_document(document, "problems")["problems"] == shown
    claims = [(claim.index, claim.match.host, claim.match.path_prefix) for claim in claims_of(document)]
    assert claims == [(0, "a", "/x"), (0, "b", "/x"), (1, "c", "")]


GRANTS = """
version: v1
grants: [{namespaces: [a, b, c], hosts: [h], actions: [deny, allow]}]
baseline: [{match: {host: "*", pathPrefix: /internal}, action: deny}]
"""
GRANTED = "{match: {host: h, pathPrefix: /login, pathType: Segment, headers: [{name: Mcp-Name, value: x}]}, action: allow}"
OUTSIDE = "{match: {host: z, pathPrefix: /}, action: deny}"


def under_grants(**entries: str) -> CurrentPolicy:
    grants = read_grants(GRANTS, has_labels=True)
    assert isinstance(grants, Grants)
    documents = {Source(name, "p"): Text(f"version: v1\nentries: [{text}]") for name, text in entries.items()}
    current = CurrentPolicy()
    current.snapshot = advance(PolicySnapshot.EMPTY.with_grants(grants), {}, documents, ISSUERS, grants=grants).snapshot
    return current


async def test_refused_entries_are_shown_as_such() -> None:
    current = under_grants(a=f"{GRANTED}, {OUTSIDE}", b=f"{OUTSIDE}, {{action: deny}}", c=GRANTED.replace("/login", "/c"))
    async with running(policy=current) as console:
        listed = (await console.get("/api/policy")).json
        shown = (await console.get("/api/policy/document?namespace=a&name=p")).json
    health = {namespace["name"]: namespace["documents"][0]["health"] for namespace in listed["namespaces"]}
    assert health == {"a": "refused", "b": "problems", "c": "ok"}
    refused = {"entry": 1, "code": "POL-2001", "reason": "entries[1] is outside the hosts and paths that its namespace is granted"}
    assert shown["refused"] == listed["namespaces"][0]["documents"][0]["refused"] == [refused]
    (entry,) = shown["entries"]
    assert (entry["action"], entry["path_type"], entry["headers"]) == ("allow", "Segment", [{"name": "mcp-name", "value": "x"}])


@pytest.mark.parametrize(
    ("more", "kind", "status"),
    [
        ("", "exchange", None),
        ("&credentials=bearer", "exchange", None),
        ("&credentials=absent", "refused", 401),
        ("&credentials=invalid", "refused", 401),
        ("&header=Host:other.example.com", "unmatched", None),
        ("&header=X-One:%201&header=X-One:%202", "exchange", None),
    ],
)
async def test_a_question_has_headers_and_a_kind_of_credentials(more: str, kind: str, status: int | None) -> None:
    async with running(policy=policy(a__orders=ORDERS), rules=RULES) as console:
        found = (await console.get(f"/api/explain?method=get&host=api.example.com&path=/orders{more}")).json

    assert (found["decision"]["kind"], found["decision"]["status"], found["decision"]["passes"]) == (kind, status, status is None)
    if kind == "exchange":
        asked = {"issuer": "primary", "endpoint": "issuer.example.com", "scope": "read:orders", "resource_metadata": "", "profile": []}
        assert found["decision"]["exchange"] == {**asked, "resources": ["https://api.example.com"], "audiences": ["orders"]}
        assert found["decision"]["policy"] == {"namespace": "a", "name": "orders", "entry": 0}
        assert "client-secret" not in str(found)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("&header=nothing", "each header must be"),
        ("&header=:x", "each header must be"),
        ("&header=Authorization:%20Bearer%20canary", "credentials are not accepted here"),
        ("&header=cookie:canary", "credentials are not accepted here"),
        ("&header=X-Forwarded-Access-Token:canary", "credentials are not accepted here"),
        ("&token=X-Forwarded-Access-Token:canary", "each token must be"),
        ("&token=1", "each token must be"),
        ("&token=Authorization:1", "each token must be"),
        ("&credentials=canary", "credentials must be one of bearer, absent"),
        ("&credentials=absent&credentials=bearer", "credentials must be one of"),
        ("&credentials=", "credentials must be one of"),
        ("&header=a:b" * 200, "the query needs"),
    ],
)
async def test_explain_rejects_credentials_and_malformed_queries_without_an_echo(more: str, said: str) -> None:
    primary = attrs.evolve(PRIMARY, subject=SubjectRules(("authorization", "x-forwarded-access-token")))
    rules = attrs.evolve(RULES, issuers=RULES.issuers.insert("primary", primary))
    async with running(policy=policy(a__orders=ORDERS), rules=rules) as console:
        found = await console.get(f"/api/explain?method=GET&host=api.example.com&path=/orders{more}")

    assert found.status == 400
    assert found.json["error"].startswith(said)
    assert b"canary" not in found.body
