"""Laws of the tools for authors: diff, explain, and what they read of manifests."""

import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import trio
from hypothesis import event, given, settings
from hypothesis import strategies as st

from exchanger.app.grants_file import GrantsSettings
from exchanger.authz.decision.answer import Effect, ExplainedDecision, answer_of, asked_request, kind_of_credentials
from exchanger.authz.decision.check import begin
from exchanger.authz.decision.outcome import Deny, ExchangePending
from exchanger.authz.envoy.authorization import decode_check
from exchanger.commands.areas import NO_HOST, PathKind
from exchanger.commands.diff import Area, compare
from exchanger.commands.explain import console_target, shown_question
from exchanger.commands.offline.inputs import PolicyInputs
from exchanger.commands.offline.rules import PolicyRules, undescribed
from exchanger.commands.policies import AssembledPolicy, policy_of_paths, settings_of
from exchanger.commands.question import MalformedQuestion, Question, read_question
from exchanger.model.authority import read_authority, wildcards_above
from exchanger.model.entry import DenyEntry, Source
from exchanger.model.request import HttpRequest
from exchanger.net.http.message import Request
from exchanger.operations.console.access import ConsoleAccess
from exchanger.operations.console.api import Api, ConsoleFacts, PolicyNow
from exchanger.operations.console.message import encode
from exchanger.operations.console.policy_view import shown_decision
from exchanger.policy import depth
from exchanger.policy.current import CurrentPolicy
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.path import is_plain_with_query
from exchanger.policy.scope import Route
from exchanger.policy.selection import PolicyObject
from exchanger.policy.snapshot import PolicySnapshot, UnreadableReach
from exchanger.policy.table import VirtualHosts
from exchanger.sources.directory.manifest import UnreadableFile, objects_of, read_manifests
from exchanger.sources.directory.source import DirectorySettings, DirectorySource
from tests.commands.examples import ISSUERS
from tests.examples import examples
from tests.policy.examples import EVERYTHING_GRANTED
from tests.property.strategies_envoy import Asked, check_request
from tests.property.strategies_envoy import requests as asked_requests
from tests.property.strategies_policy import documents, policies, reaches
from tests.property.strategies_tools import baselines, policy_of, requests, some_grants, whole_policies

# Laws: a comparison shows nothing that does not differ, and each request that is decided differently lies in an area that it shows.


Pair = tuple[list[PolicyDocument], list[PolicyDocument]]


@st.composite
def edits(draw: st.DrawFn) -> Pair:
    """Draw a policy and a version of it with a small change, most of which decide nothing differently or little."""
    before = draw(policies.filter(bool))
    at = draw(st.integers(0, len(before) - 1))
    document = before[at]
    other = draw(documents(of=st.just(document.source), max_entries=2))
    kept = tuple(entry for entry in document.entries if draw(st.integers(0, 3)))
    added = tuple(attrs.evolve(entry, index=100 + entry.index) for entry in other.entries if not draw(st.integers(0, 2)))
    closed_scopes = document.closed_scopes if draw(st.booleans()) else ()
    after = PolicyDocument(document.source, (*kept, *added), closed_scopes)
    return before, [*before[:at], after, *before[at + 1 :]]


pairs = edits() | st.tuples(policies, policies)


def decided(answer: ExplainedDecision) -> tuple[object, ...]:
    return answer.effect, answer.status, answer.target, answer.resource_metadata


def is_of(area: Area, request: HttpRequest) -> bool:
    """Tell whether the host of ``request`` is one of those that ``area`` stands for."""
    asked, shown = read_authority(request.host), read_authority(area.example.request.host)
    if asked is None or shown is None:
        return asked is shown
    return asked == shown or bool(set(wildcards_above(asked)) & set(wildcards_above(shown))) or area.hosts == "any other host"


@given(pairs, st.integers(1, 4), st.integers(2, 6), st.lists(requests, min_size=10, max_size=40))
def test_what_differs_where_a_limit_is_exceeded_is_shown(pair: Pair, levels: int, entries: int, asked: list[HttpRequest]) -> None:
    """Then more fails closed than in the scope of any entry that only one of the policies has."""
    grants = attrs.evolve(EVERYTHING_GRANTED, limits=NamespaceLimits(entries))
    with mock.patch.object(depth, "MAX_DEPTH", levels):
        old, new = (policy_of(documents, grants=grants) for documents in pair)
    limited = {bool(one.over_quota or one.over_depth) for policy in (old, new) for one in policy.newest.namespaces.values()}
    event(f"limits exceeded: {True in limited}")
    shown(old, new, asked)


@settings(max_examples=examples(60))
@given(pairs, st.tuples(some_grants, st.none() | some_grants), reaches, st.lists(requests, min_size=10, max_size=40))
def test_what_differs_under_grants_is_shown(
    pair: Pair, grants: tuple[Grants, Grants | None], reach: UnreadableReach, asked: list[HttpRequest]
) -> None:
    both = (grants[0], grants[1] or grants[0])
    old, new = (policy_of(documents, reach, grants=own) for documents, own in zip(pair, both, strict=True))
    shown(old, new, asked)


@settings(max_examples=examples(60))
@given(pairs, reaches, st.tuples(baselines, baselines), st.lists(requests, min_size=10, max_size=40))
def test_what_is_shown_differs_and_what_differs_is_shown(
    pair: Pair, reach: UnreadableReach, denials: tuple[tuple[DenyEntry, ...], tuple[DenyEntry, ...]], asked: list[HttpRequest]
) -> None:
    same_denials = denials if denials[1] else (denials[0], denials[0])
    old, new = (policy_of(documents, reach, baseline) for documents, baseline in zip(pair, same_denials, strict=True))
    shown(old, new, asked)


def shown(old: AssembledPolicy, new: AssembledPolicy, asked: list[HttpRequest]) -> None:
    """See whether the comparison of ``old`` and ``new`` shows what differs, and nothing else; some requests are ``asked`` of both."""
    found = compare(old, new)

    assert found.complete
    event("different" if found.areas else "same")
    for area in found.areas:
        request = area.example.request
        assert decided(old.answer(request)) == decided(area.before)
        assert decided(new.answer(request)) == decided(area.after)
        assert decided(area.before) != decided(area.after)
        if area.hosts != NO_HOST and request.path != "*":  # no URL says these
            given = list(area.example.headers)
            raw = request.path_is_raw
            question = read_question(request.method, f"https://{request.host}{request.path}", given, raw=raw)
            assert isinstance(question, Question)
            assert (old.answer(question.request()), new.answer(question.request())) == (area.before, area.after)
    for request in asked:
        before, after = decided(old.answer(request)), decided(new.answer(request))
        if before == after:
            continue
        there = [area for area in found.areas if is_of(area, request)]
        assert there
        if is_plain_with_query(request.path) and "!" not in request.path:
            plain = [area for area in there if PathKind.ODD not in area.kinds]
            assert any((decided(area.before), decided(area.after)) == (before, after) for area in plain)


# Laws: what a question is told is what ``begin`` says of the gateway's own message, and its explanation is of that decision.


# The decisions of a policy, and what may become of such requests.
_EFFECTS = {
    "no_match": {Effect.UNMATCHED},
    "exchange": {Effect.EXCHANGE, Effect.ALLOW, Effect.REFUSED},  # OPTIONS without credentials pass, and other requests need a token
    "deny": {Effect.DENY},
    "allow": {Effect.ALLOW},
    "unhealthy": {Effect.REFUSED},
    "ambiguous": {Effect.REFUSED},
}


@given(whole_policies, asked_requests)
def test_a_question_is_decided_as_the_gateway_s_message_is(policy: AssembledPolicy, asked: Asked) -> None:
    request = decode_check(check_request(asked), with_headers=True)
    assert isinstance(request, HttpRequest)

    question = asked_request(asked.method, asked.host, asked.path, asked.headers)
    told, decided = policy.answer(question), begin(request, policy.snapshot, policy.rules)

    assert (told.effect is Effect.EXCHANGE) is isinstance(decided, ExchangePending)
    assert told == answer_of(decided)
    assert told.status == (decided.status if isinstance(decided, Deny) else None)


@given(whole_policies, asked_requests)
def test_an_explanation_is_of_the_decision(policy: AssembledPolicy, asked: Asked) -> None:
    question = Question(asked.method, asked.host, asked.path, asked.headers)

    shown = shown_question(question, policy)

    decided = answer_of(begin(question.request(), policy.snapshot, policy.rules))
    assert shown["decision"]["kind"] == decided.effect.value
    assert shown["decision"]["passes"] is decided.passes
    assert decided.effect in _EFFECTS[shown["verdict"]["kind"]]
    if policy.snapshot is not None:
        decision = policy.snapshot.match(question.request().host, asked.path, question.request().method, headers=question.request().fields)
        assert shown["verdict"] == shown_decision(decision)


@given(whole_policies, asked_requests, st.booleans())
def test_the_console_says_the_same(policy: AssembledPolicy, asked: Asked, raw: bool) -> None:
    kept = tuple(header for header in asked.headers if header[0] != "cookie")
    question = Question(asked.method, asked.host, asked.path, kept, raw=raw)
    api = Api(ConsoleFacts("", ""), lambda: PolicyNow(policy.newest, 0, policy.snapshot is None), ConsoleAccess(), lambda: policy.rules)

    response = trio.run(api.explain, Request("GET", console_target(question)))

    told, said = shown_question(question, policy), json.loads(response.body)
    assert response.status == 200
    assert said == json.loads(encode(told))


@given(st.sampled_from(["GET", "get", "HEAD"]), st.from_regex(r"[a-z.]{1,9}(:[0-9]+)?", fullmatch=True), st.text("/ab?%!.;\\é", max_size=6))
def test_a_url_is_taken_as_it_is_written(method: str, host: str, rest: str) -> None:
    url_path = rest if rest.startswith(("/", "?")) else f"/{rest}"

    found = read_question(method, f"https://{host}{url_path}")

    assert isinstance(found, Question)
    assert (found.method, found.host) == (method, host)
    assert found.path == (url_path if url_path.startswith("/") else f"/{url_path}")
    assert kind_of_credentials(found.request().authorization) == "bearer"


@given(st.text(), st.text(), st.lists(st.text(), max_size=3))
def test_any_text_is_a_question_or_no_question(method: str, url: str, headers: list[str]) -> None:
    found = read_question(method, url, headers)
    if isinstance(found, MalformedQuestion):
        assert found.reason
    else:
        assert found.host
        assert found.path.startswith("/")
        assert found.url().startswith("https://")


# Law: of the same manifests, issuers and grants, the tools have the very policy that a service publishes which starts with that folder.


DOMAIN = "ext-authz-token-exchange.magneticflux.net"
NAMESPACE_LABELS = [{f"{DOMAIN}/policy": "enabled"}, {f"{DOMAIN}/policy": "enabled", "team": "orders"}, {}]
ENTRIES = [
    "{match: {host: a.example, pathPrefix: /a}, action: deny}",
    "{match: {host: '*.example', pathPrefix: /, methods: [GET]}, action: exchange, exchange: {issuerRef: primary, scope: x}}",
    "{match: {host: a.example, pathPrefix: /a/b, pathType: Exact}, action: allow}",
    "{match: {host: a.example, pathPrefix: /x}, action: exchange, exchange: {issuerRef: unknown, scope: x}}",
    "{match: {host: 'https://a.example/', pathPrefix: /}, action: deny}",
    "{match: {host: b.example, pathPrefix: /a*, headers: [{name: X, value: y}]}, action: denny}",
    "null",
]
texts = st.lists(st.sampled_from(ENTRIES), max_size=3).map(lambda entries: f"version: v1\nentries: [{', '.join(entries)}]")
texts_of_documents = texts | st.sampled_from(["", "{", "version: v2", None])
manifests = st.one_of(
    st.tuples(st.just("Namespace"), st.sampled_from(["red", "blue"]), st.sampled_from(NAMESPACE_LABELS)),
    st.tuples(st.sampled_from(["red", "blue"]), st.sampled_from(["one", "two"]), st.booleans(), texts_of_documents),
)
GRANTS = [
    "",
    "version: v1\ngrants: []\n",
    """\
version: v1
grants: [{namespaces: [red], hosts: ["*.example"], actions: [exchange, deny, allow], issuers: ["*"], scopes: ["*"]}]
baseline: [{match: {host: "*", pathPrefix: /internal}, action: deny}]
""",
    "version: v1\ngrants: [{namespaceSelector: team=orders, hosts: [a.example], pathPrefixes: [/a], issuers: ['*'], scopes: ['*']}]\n",
]


def manifest(drawn: tuple[Any, ...]) -> object:
    if drawn[0] == "Namespace":
        _, name, labels = drawn
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    namespace, name, enabled, text = drawn
    labels = {f"{DOMAIN}/enabled": "true"} if enabled else {}
    data = {} if text is None else {"config.yaml": text}
    metadata = {"namespace": namespace, "name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def rules_of(grants: str, *, complete: bool) -> PolicyRules:
    granted = GrantsSettings().understood(grants) if grants else NO_GRANTS
    assert isinstance(granted, Grants)
    rules = PolicyRules.of(settings_of({}, PolicyInputs()), frozenset({"primary"}))
    return attrs.evolve(rules, grants=granted, complete=complete)


async def published(folder: Path, rules: PolicyRules) -> CurrentPolicy:
    """Return the policy of a service that has started with ``folder``."""
    current, where = CurrentPolicy(), DirectorySettings(folder, rules.namespaces, rules.configmaps)
    source = DirectorySource(where, rules.issuers, current, grants=rules.grants)
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        nursery.cancel_scope.cancel()
    return current


@settings(max_examples=examples(100))
@given(st.lists(st.lists(manifests, max_size=4), max_size=3), st.booleans(), st.sampled_from(GRANTS))
def test_the_policy_of_manifests_is_the_one_that_a_service_publishes(files: list[list[tuple[Any, ...]]], broken: bool, grants: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, chosen = Path(name) / "policies", Path(name)
        folder.mkdir()
        described = [("Namespace", namespace, NAMESPACE_LABELS[-1]) for namespace in ("red", "blue")]
        for number, drawn in enumerate([*files, described]):
            text = "\n---\n".join(json.dumps(manifest(one)) for one in drawn)
            (folder / f"{number}.yaml").write_text(text)
        if broken:
            (folder / "broken.yml").write_text("{")
        (chosen / "issuers.yaml").write_text(ISSUERS)
        (chosen / "grants.yaml").write_text(grants)

        told = policy_of_paths((str(folder),), PolicyInputs(chosen / "issuers.yaml", chosen / "grants.yaml" if grants else None), {})
        service = trio.run(published, folder, rules_of(grants, complete=True))

    assert service.newest is not None
    assert told.snapshot is not None
    assert {document.source.namespace for document in service.newest.documents()} <= {"red", "blue", ""}
    assert contents(told.newest) == contents(service.newest)
    assert routes(told.newest.hosts) == routes(service.newest.hosts)
    assert told.newest.baseline == service.newest.baseline
    for counter in ("document_count", "entry_count", "invalid_documents", "refused_count"):
        assert getattr(told.newest, counter) == getattr(service.newest, counter)


@settings(max_examples=examples(100))
@given(st.lists(st.lists(manifests, max_size=4), max_size=3), st.sampled_from(GRANTS))
def test_complete_rules_make_the_version_that_a_service_publishes(files: list[list[tuple[Any, ...]]], grants: str) -> None:
    rules = rules_of(grants, complete=True)
    with tempfile.TemporaryDirectory() as name:
        for number, drawn in enumerate(files):
            (Path(name) / f"{number}.yaml").write_text("\n---\n".join(json.dumps(manifest(one)) for one in drawn))
        service = trio.run(published, Path(name), rules)
    found = rules.version(rules.select(objects(files))).snapshot
    assert service.newest is not None
    assert (contents(found), routes(found.hosts)) == (contents(service.newest), routes(service.newest.hosts))
    assert found.baseline == service.newest.baseline


@given(st.lists(st.lists(manifests, max_size=4), max_size=3), st.sampled_from(GRANTS[:3]))
def test_a_namespace_that_no_manifest_describes_counts_as_selected(files: list[list[tuple[Any, ...]]], grants: str) -> None:
    missing = [("Namespace", name, NAMESPACE_LABELS[0]) for name in undescribed(objects(files))]
    versions = []
    for drawn, complete in ((files, False), ([*files, missing], True)):
        rules = rules_of(grants, complete=complete)
        versions.append(rules.version(rules.select(objects(drawn))).snapshot)
    assumed, described = versions
    assert (contents(assumed), routes(assumed.hosts)) == (contents(described), routes(described.hosts))


def objects(files: list[list[tuple[Any, ...]]]) -> list[PolicyObject]:
    read = (read_manifests(json.dumps(manifest(one)).encode(), is_json=True) for drawn in files for one in drawn)
    return [item for found in read if not isinstance(found, UnreadableFile) for item in objects_of(found)]


def contents(snapshot: PolicySnapshot) -> dict[Source, tuple[object, ...]]:
    """Return what is in the documents, without that of unreadable files: these have other names."""
    found = (document for document in snapshot.documents() if document.source.namespace)
    return {one.source: (one.document, one.entries, one.problems, one.refused) for one in found}


def routes(hosts: VirtualHosts) -> set[Route]:
    """Return the routes, without the names of unreadable files."""
    return {route for route in hosts.routes() if route.effect.source.namespace}
