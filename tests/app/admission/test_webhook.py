"""The webhook over HTTP, in memory: what is checked, what is let through, and what is an error."""

import json
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanger.app.admission.judgement import MESSAGE_CHARS, KnownPolicy, check
from exchanger.app.admission.webhook import BODY_BYTES, LIGHT_BYTES, NAMESPACE_S, TIMEOUT_S, Webhook
from exchanger.model.codes.manifests import MANY_DOCUMENTS
from exchanger.model.entry import Source
from exchanger.model.selector import parse_selector
from exchanger.policy.documents.document import PolicyDocument, parse_document
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.selection import Text, UnknownText, read
from exchanger.policy.snapshot import PolicySnapshot
from tests.app.admission.reviews import BROKEN, DENY, UID, FakeCluster, body, config_map, policies
from tests.examples import examples
from tests.lines import Lines
from tests.policy.examples import with_documents, without
from tests.waiting import at_once

TOO_DEEP = "the prefixes of its namespace make more than 24 levels on one path of its host"
ENTRY = "{{match: {{host: h, pathPrefix: {}}}, action: deny}}"


@attrs.define
class Scene:
    cluster: FakeCluster = attrs.field(factory=FakeCluster)
    named: bool = False
    inline: bool = False
    lines: Lines = attrs.field(factory=Lines)
    webhook: Webhook = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.webhook = Webhook(self.cluster, parse_selector("enabled=yes"), parse_selector("policy=yes"), self.named, log=self.lines.logger)
        if self.inline:
            self.webhook.run_sync = at_once

    async def send(self, data: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer to one request."""
        client, served = trio.testing.memory_stream_pair()
        received = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.serve, served)
            await client.send_all(data)
            await client.send_eof()
            async for chunk in client:
                received += chunk
        head, _, content = bytes(received).partition(b"\r\n\r\n")
        return int(head.split()[1]), content

    async def serve(self, stream: trio.abc.Stream) -> None:
        async with stream:
            await self.webhook.http.serve(stream)

    async def post(self, content: bytes, path: str = "/validate?timeout=10s", kind: str = "application/json") -> tuple[int, bytes]:
        return await self.send(
            f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
        )

    async def get(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        return await self.send(f"{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())

    async def checked(self, after: object, before: object = None, **request: Any) -> dict[str, Any]:
        status, content = await self.post(body(after, before, **request))
        assert status == 200, content
        response: dict[str, Any] = json.loads(content)["response"]
        assert response.pop("uid") == UID
        return response


ALLOWED = {"allowed": True}


async def test_a_valid_policy_is_allowed_and_a_broken_one_is_refused() -> None:
    scene = Scene()
    assert await scene.checked(config_map(DENY)) == ALLOWED
    refused = await scene.checked(config_map(BROKEN))
    assert (refused["allowed"], refused["status"]["code"], refused["status"]["reason"]) == (False, 422, "Invalid")
    assert refused["status"]["message"].startswith("config.yaml: line 2, column ")
    assert '"dney"' in refused["status"]["message"]
    assert scene.lines.events == [("denied", "team/policy", refused["status"]["message"])]
    assert (await scene.checked(config_map(None)))["status"]["message"].startswith("config.yaml: POL-1001: the document is missing")
    misnamed = {**config_map(None), "data": {"config.yml": DENY}}
    assert "config.yml, which was probably meant" in (await scene.checked(misnamed))["status"]["message"]


@pytest.mark.parametrize(
    ("after", "before", "warned"),
    [
        (config_map(DENY, {"polcy": "yes"}), None, "the label polcy is probably meant to be policy=yes"),
        (config_map("x", {"policy": "Yes"}), None, "the label policy has another value; write policy=yes"),
        (config_map(DENY, None), None, "its config.yaml looks like a policy, but its labels do not select it"),
        (config_map(DENY, {}), config_map(DENY), "looks like a policy"),
        (config_map(DENY, {"a": "b"}), config_map("x", {"a": "b"}), "looks like a policy"),
        (config_map(BROKEN, None), None, "looks like a policy"),
        (config_map(DENY, {}, annotations={"a": "b"}), config_map(DENY, {}), None),
        (config_map(DENY, {"policy": "no"}), None, None),
        (config_map("listen: 80", {"app": "web"}), None, None),
        (config_map(BROKEN), None, None),
    ],
)
async def test_an_unselected_config_map_that_looks_like_policy_gets_only_a_warning(
    after: object, before: object, warned: str | None
) -> None:
    status, content = await Scene().post(body(after, before), "/unselected?timeout=1s")
    response = json.loads(content)["response"]
    assert (status, response["allowed"]) == (200, True)
    warnings = response.get("warnings", [])
    assert len(warnings) == (warned is not None)
    assert warned is None or (warned in warnings[0] and warnings[0].startswith("POL-3"))


async def test_a_policy_outside_policy_namespaces_gets_a_warning_naming_the_variable() -> None:
    (warning,) = (await Scene(FakeCluster(namespaces={}), named=True).checked(config_map(DENY)))["warnings"]
    assert "is not among those that are followed by name (add the name to POLICY_NAMESPACES" in warning


async def test_all_problems_are_in_one_message_in_the_order_of_the_document() -> None:
    entries = "".join(f"- {{match: {{host: a.example, pathPrefix: /{number}}}, action: x{number}}}\n" for number in range(12))
    said = (await Scene().checked(config_map(f"version: v1\nentries:\n{entries}")))["status"]["message"].splitlines()
    assert said[0] == "config.yaml has 12 problems:"
    assert [line.split(", ")[0] for line in said[1:]] == [f"- line {number + 3}" for number in range(12)]


async def test_a_message_is_bounded(mock_clock: trio.testing.MockClock) -> None:
    # The clock stands still: on a slow machine, this review takes longer than one may.
    entries = "- {match: {host: a.example, pathPrefix: /a}, action: x}\n" * 5000
    said = (await Scene().checked(config_map(f"version: v1\nentries:\n{entries}")))["status"]["message"]
    assert len(said) < 2 * MESSAGE_CHARS
    assert said.startswith("config.yaml has 5000 problems:")
    assert said.splitlines()[-1].startswith("- and ")


@pytest.mark.parametrize(
    ("after", "before", "allowed"),
    [
        (config_map(BROKEN, None), None, True),
        (config_map(BROKEN, {"policy": "no"}), None, True),
        (config_map(BROKEN, annotations={"a": "b"}), config_map(BROKEN), True),
        (config_map(BROKEN, {"policy": "yes", "a": "b"}), config_map(BROKEN), True),
        (config_map(BROKEN, {}), config_map(BROKEN), True),
        (config_map(BROKEN + "#", {}), config_map(BROKEN), True),
        (config_map(BROKEN + "#"), config_map(BROKEN), False),
        (config_map(BROKEN), config_map(BROKEN, {}), False),
        (config_map(BROKEN), config_map(DENY), False),
        (config_map(DENY), config_map(BROKEN), True),
        (config_map(None), config_map(None), True),
        (config_map(None), config_map(DENY), False),
    ],
)
async def test_only_changes_of_selected_documents_matter(after: Any, before: Any, allowed: bool) -> None:
    assert (await Scene().checked(after, before))["allowed"] is allowed


async def test_a_dry_run_is_checked_alike() -> None:
    assert await Scene().checked(config_map(BROKEN), dryRun=True) == await Scene().checked(config_map(BROKEN), dryRun=False)


async def test_other_kinds_are_let_through() -> None:
    assert await Scene().checked(config_map(BROKEN), kind={"group": "", "version": "v1", "kind": "Secret"}) == ALLOWED


async def test_conflicts_and_unknown_issuers_are_warnings() -> None:
    known = KnownPolicy(policies(other=DENY, team=BROKEN), frozenset({"primary"}))
    scene = Scene(FakeCluster(known))
    both = DENY.replace("]", ", {match: {host: b.example, pathPrefix: /}, action: exchange, exchange: {issuerRef: no, scope: s}}]")
    found = await scene.checked(config_map(both))
    assert found["allowed"]
    unknown, conflict = found["warnings"]
    assert '"no"' in unknown
    assert "other/policy entries[0]" in conflict
    assert await scene.checked(config_map(DENY.replace("a.example", "c.example"))) == ALLOWED


@pytest.mark.parametrize(("issuers", "is_suggested"), [("[primary, merger-advisor]", True), ("[primary]", False)])
async def test_a_warning_suggests_only_granted_issuer_profiles(issuers: str, is_suggested: bool) -> None:
    text = f"{{version: v1, grants: [{{namespaces: [team], hosts: [a.example], issuers: {issuers}}}]}}"
    grants = read_grants(text, has_labels=True, enforced=False)
    assert isinstance(grants, Grants)
    scene = Scene(FakeCluster(KnownPolicy(issuers=frozenset({"merger-advisor"}), grants=grants)))
    exchange = "{match: {host: a.example, pathPrefix: /}, action: exchange, exchange: {issuerRef: merger-adviser, scope: s}}"
    found = await scene.checked(config_map(f"version: v1\nentries: [{exchange}]"))
    assert (found["allowed"], "merger-advisor" in str(found)) == (True, is_suggested)


async def test_of_many_unknown_issuers_the_first_are_named() -> None:
    entry = "{{match: {{host: a.example, pathPrefix: /{}}}, action: exchange, exchange: {{issuerRef: no, scope: s}}}}"
    document = f"version: v1\nentries: [{', '.join(entry.format(number) for number in range(20))}]"
    found = await Scene().checked(config_map(document))
    assert found["allowed"]
    assert [len(found["warnings"]), found["warnings"][-1]] == [17, "and 4 more entries with an issuer that is not known"]


@pytest.mark.parametrize("enforced", [True, False])
async def test_grants_refuse_or_only_tell(enforced: bool) -> None:
    grants = read_grants("{version: v1, grants: [{namespaceSelector: a=b, hosts: [b.example]}]}", has_labels=True, enforced=enforced)
    assert isinstance(grants, Grants)
    scene = Scene(FakeCluster(KnownPolicy(grants=grants), {"team": ((("a", "b"),),)}))
    found = await scene.checked(config_map(DENY))
    assert found["allowed"] is not enforced
    if enforced:
        assert (found["status"]["code"], found["status"]["reason"]) == (403, "Forbidden")
        assert found["status"]["message"].startswith("config.yaml: line 2: POL-2001: entries[0] is outside")
    else:
        assert found["warnings"][0].startswith("line 2: POL-2001: would be refused: entries[0]")


async def test_a_namespace_that_is_new_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    scene = Scene(FakeCluster(namespaces={}), inline=True)
    async with trio.open_nursery() as nursery:

        async def create() -> None:
            await trio.sleep(NAMESPACE_S / 2)
            scene.cluster.namespaces["team"] = ()

        nursery.start_soon(create)
        assert (await scene.checked(config_map(BROKEN)))["allowed"] is False


@pytest.mark.parametrize("named", [False, True])
async def test_a_policy_in_an_unselected_namespace_is_allowed_with_a_warning(named: bool, autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    found = await Scene(FakeCluster(namespaces={}), named, inline=True).checked(config_map(BROKEN))
    assert found["allowed"]
    assert "ConfigMap team/policy is not active: its Namespace team is not selected" in found["warnings"][0]
    assert (trio.current_time() - began < NAMESPACE_S) is named


async def test_before_the_cluster_is_known_nobody_gets_a_judgement() -> None:
    scene = Scene(FakeCluster(None))
    assert (await scene.post(body(config_map(BROKEN))))[0] == 503
    assert [(await scene.get(path))[0] for path in ("/healthz", "/readyz")] == [200, 503]
    scene.cluster.known = KnownPolicy()
    assert [(await scene.get(path))[0] for path in ("/healthz", "/readyz?verbose", "/readyz")] == [200, 200, 200]
    scene.webhook.http.draining = True
    assert [(await scene.get(path))[0] for path in ("/healthz", "/readyz")] == [200, 503]
    assert (await scene.post(body(config_map(BROKEN))))[0] == 200


async def test_what_is_no_review_is_an_error_of_http() -> None:
    scene = Scene()
    valid = body(config_map())
    assert await scene.post(b"{") == (400, b"the body is not JSON\n")
    assert (await scene.post(valid, kind="application/yaml"))[0] == 415
    assert (await scene.post(valid, kind="Application/JSON; charset=utf-8"))[0] == 200
    assert (await scene.post(valid, path="/"))[0] == 404
    assert (await scene.get("/validate"))[0] == 405
    assert (await scene.get("/healthz", "DELETE"))[0] == 405
    assert (await scene.send(b"garbage\r\n\r\n"))[0] == 400
    too_long = f"POST /validate HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {BODY_BYTES + 1}\r\n\r\n"
    assert (await scene.send(too_long.encode()))[0] == 413


@pytest.mark.parametrize(
    ("query", "seconds"),
    [("", TIMEOUT_S), ("?timeout=3s", 3.0), ("?a=b&timeout=500ms", 0.5), ("?timeout=soon", TIMEOUT_S), ("?timeout=5h", 30.0)],
)
async def test_judging_ends_when_the_api_server_gives_up(
    query: str, seconds: float, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(FakeCluster(namespaces={}), inline=True)
    monkeypatch.setattr("exchanger.app.admission.webhook.NAMESPACE_S", 100.0)
    began = trio.current_time()
    assert (await scene.post(body(config_map(BROKEN)), f"/validate{query}"))[0] == 504
    assert trio.current_time() - began == pytest.approx(seconds)


async def test_a_fault_is_an_error_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr("exchanger.app.admission.webhook.check", broken)
    scene = Scene()
    status, content = await scene.post(body(config_map()))
    assert (status, b"canary" in content, scene.lines.events) == (500, False, [("handler_failed", "RuntimeError")])


async def test_large_documents_do_not_hold_up_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second large document waits for the first one; a small one is checked meanwhile."""
    begun, go_on = trio.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    def slow(source: Source, text: Any, known: KnownPolicy) -> Any:
        if len(text.text) > LIGHT_BYTES:
            token.run_sync_soon(begun.set)
            trio.from_thread.run(go_on.wait, trio_token=token)
        return check(source, text, known)

    monkeypatch.setattr("exchanger.app.admission.webhook.check", slow)
    scene = Scene()
    large = config_map(f"{DENY}\n#{'x' * LIGHT_BYTES}")
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(scene.checked, large)
        await begun.wait()
        assert await scene.checked(config_map(DENY)) == ALLOWED
        go_on.set()


@settings(max_examples=examples(50))
@given(st.binary(max_size=300))
def test_any_bytes_are_answered_or_dropped_without_a_fault(data: bytes) -> None:
    async def send() -> list[tuple[str, ...]]:
        scene = Scene()
        client, served = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.serve, served)
            await client.send_all(b"POST /validate HTTP/1.1\r\nHost: h\r\n" + data)
            await client.send_eof()
            async for _ in client:
                pass
        return [event for event in scene.lines.events if event[0] == "handler_failed"]

    assert trio.run(send) == []


async def test_a_document_that_makes_another_too_deep_is_rejected_and_names_it() -> None:
    def nested(first: int, last: int) -> str:
        return "version: v1\nentries:\n" + "".join(
            f"- {{match: {{host: h, pathPrefix: /{'a' * length}}}, action: deny}}\n" for length in range(first, last)
        )

    snapshot = with_documents(policies(other=nested(0, 24)), parse_document(Source("team", "deep"), nested(16, 32), frozenset()))
    scene = Scene(FakeCluster(KnownPolicy(snapshot)))
    assert (await scene.checked(config_map(nested(0, 8))))["allowed"]
    message = (await scene.checked(config_map(nested(0, 16))))["status"]["message"]
    assert message.startswith("config.yaml has 17 problems:\n- line 3: POL-2202: entries[0] fails closed")
    assert message.endswith(f"- POL-2202: this document would affect team/deep: entries[0] fails closed: {TOO_DEEP}")


def limited(limits: NamespaceLimits, *documents: PolicyDocument) -> KnownPolicy:
    grants = attrs.evolve(NO_GRANTS, limits=limits)
    return KnownPolicy(with_documents(PolicySnapshot.EMPTY.with_grants(grants), *documents), grants=grants)


async def test_a_document_for_which_its_namespace_has_no_room_is_refused() -> None:
    text, first = Text(DENY), "team"
    known = limited(NamespaceLimits(documents=2), *(parse_document(Source(first, name), DENY, frozenset()) for name in "ac"))
    unread = read(Source(first, "y"), UnknownText("beyond", code=MANY_DOCUMENTS), frozenset())
    full = attrs.evolve(known, snapshot=with_documents(known.snapshot, unread))
    fewer = attrs.evolve(full, snapshot=without(full.snapshot, Source(first, "c")))
    beyond = check(Source(first, "z"), text, known).refused
    assert beyond is not None
    assert beyond.message.startswith("config.yaml: POL-2204: the document is not read")
    pushing = check(Source(first, "b"), text, known).refused
    assert pushing is not None
    assert f"there is no room for {first}/c" in pushing.message
    assert check(Source(first, "a"), text, known).refused is None
    assert check(Source(first, "z"), text, fewer).refused is not None
    assert check(Source("other", "z"), text, full).refused is None


@pytest.mark.parametrize(
    ("limits", "entries", "code", "many"),
    [
        (NamespaceLimits(fail_closed_scopes=3), "[{x: 1}, {x: 2}]", "POL-2203", "3 scopes that fail closed"),
        (NamespaceLimits(entries=3), f"[{ENTRY.format('/a')}, {ENTRY.format('/b')}]", "POL-2201", "3 entries"),
    ],
)
async def test_a_document_that_exceeds_its_own_or_anothers_quota_is_rejected(
    limits: NamespaceLimits, entries: str, code: str, many: str
) -> None:
    text = f"version: v1\nentries: {entries}"
    known = limited(limits, parse_document(Source("team", "b"), text, frozenset()))
    why = f"the document fails closed on the hosts that it names: its namespace has more than {many}"
    pushed = check(Source("team", "a"), Text(text), known).refused
    assert pushed is not None
    assert f"{code}: this document would affect team/b: {why}" in pushed.message
    own = check(Source("team", "c"), Text(text), known).refused
    assert own is not None
    assert f"{code}: {why}" in own.message
    assert ("POL-1101" in own.message) is ("x: 1" in text)  # its author's mistakes as well
