"""Law: a policy is refused at the API server's door just when the service would not activate all of it.

The way of the webhook begins with an AdmissionReview, that of the service with the object that its watch delivers.
"""

import json
from collections import deque
from typing import Any
from unittest import mock

import attrs
import orjson
from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.app.admission.judgement import KnownPolicy, check
from exchanger.app.admission.review import ReviewAnswer, ReviewedChange, read_review
from exchanger.model.entry import Source
from exchanger.model.selector import Selector
from exchanger.policy import depth
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.selection import Change, DocumentText, Text, advance
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.kube.api.decoding import decode_config_map, decode_namespace
from exchanger.sources.kube.index import PolicyIndex
from exchanger.sources.kube.list_watch import Item, Key
from exchanger.sources.kube.store import Complete, ReflectorStore
from tests.commands.check.checking import checked
from tests.commands.check.checking import config_map as check_config_map
from tests.commands.check.checking import entries as check_entries
from tests.property import strategies_policy
from tests.property.strategies_policy import ISSUERS

LABELS = {"team": "red"}
SOURCE = Source("red", "policy")
NAMESPACE = {"metadata": {"name": "red", "labels": LABELS}}


def rarely(rare: st.SearchStrategy[Any], common: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return strategies_policy.rarely(rare, common, one_in=8)


hosts = st.sampled_from(["a.example", "x.a.example", "*.a.example", "b.example"])
matches = st.fixed_dictionaries(
    {
        "host": rarely(st.sampled_from(["", "*", "a.example/", 5, "{{ host }}"]), hosts),
        "pathPrefix": rarely(st.sampled_from(["", "a", "/a/**", "//b", None]), st.sampled_from(["/", "/a", "/a/b", "/b"])),
    },
    optional={
        "methods": rarely(st.sampled_from([["all"], "GET", []]), st.just(["GET"])),
        "caseInsensitive": st.booleans(),
        "pathType": rarely(st.just("Suffix"), st.sampled_from(["Prefix", "Segment", "Exact"])),
        "headers": st.just([{"name": "X-A", "value": "1"}]),
    },
)
exchanges = st.fixed_dictionaries(
    {"issuerRef": st.sampled_from(["primary", "other", "stranger"]), "scope": rarely(st.just(5), st.sampled_from(["r", "w", "r w"]))},
    optional={
        "audiences": st.just(["x"]),
        "resources": st.just(["https://a.example/x"]),
        "resourceMetadata": rarely(st.just("/x"), st.just("https://a.example/x")),
        "typo": st.just(1),
    },
)
entries = rarely(
    st.sampled_from([None, 5, [], {}, {"match": {"host": "a.example"}}]),
    st.one_of(
        st.builds(lambda match: {"match": match, "action": "deny"}, matches),
        st.builds(lambda match: {"match": match, "action": "allow"}, matches),
        st.builds(lambda match, exchange: {"match": match, "action": "exchange", "exchange": exchange}, matches, exchanges),
    ),
)
documents = st.builds(
    lambda entries, rest: json.dumps({"version": "v1", "entries": entries, **rest}),
    st.lists(entries, max_size=4),
    rarely(st.sampled_from([{"version": "v2"}, {"extra": 1}, {"entries": {}}]), st.just({})),
)
texts = rarely(st.none() | st.text(max_size=40) | documents.map(lambda text: text[:-3]), documents)
all_grants = st.none() | st.builds(
    lambda grants: json.dumps({"version": "v1", "grants": grants}),
    st.lists(
        st.fixed_dictionaries(
            {"namespaceSelector": st.sampled_from(["team=red", "team", "team=blue"])},
            optional={
                "hosts": st.lists(st.sampled_from(["a.example", "*.a.example", "*", "{label:team}.example"]), min_size=1, max_size=2),
                "pathPrefixes": st.sampled_from([["/a"], ["/"]]),
                "actions": st.lists(st.sampled_from(["allow", "deny", "exchange"]), min_size=1, unique=True),
                "issuers": st.just(["*"]),
                "scopes": st.sampled_from([["*"], ["r"]]),
                "audiences": st.just(["*"]),
            },
        ),
        max_size=3,
    ),
)


def granted(text: str | None, *, enforced: bool) -> Grants:
    if text is None:
        return NO_GRANTS
    found = read_grants(text, has_labels=True, enforced=enforced)
    assert isinstance(found, Grants), found
    return found


def config_map(text: str | None) -> dict[str, Any]:
    data = {} if text is None else {"config.yaml": text}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "policy", "namespace": "red", "labels": LABELS}, "data": data}


def reviewed(text: str | None, known: KnownPolicy) -> ReviewAnswer:
    """Return the answer to the API server."""
    request = {"uid": "1", "kind": {"group": "", "version": "v1", "kind": "ConfigMap"}, "operation": "CREATE", "namespace": "red"}
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {**request, "object": config_map(text)}}
    asked = read_review(orjson.dumps(review))
    assert isinstance(asked, ReviewedChange)
    return check(SOURCE, Text.of(asked.after, _labels()), known)


def _labels() -> tuple[tuple[tuple[str, str], ...], ...]:
    labels = _index(None).labels_of("red")
    assert labels is not None
    return labels


def _index(text: str | None) -> PolicyIndex:
    index = PolicyIndex(Selector(), Selector(), with_labels=True)
    namespace, found = decode_namespace(NAMESPACE), decode_config_map(config_map(text))
    assert namespace is not None
    assert found is not None
    index.namespaces.replace(Complete((Item(Key("", namespace.name), "1", namespace),), "1"))
    index.config_maps["red"] = ReflectorStore()
    index.config_maps["red"].replace(Complete((Item(Key("red", found.name), "1", found),), "1"))
    index.namespaces_changed()
    deque(index.settle(), maxlen=0)
    return index


def followed(text: str | None, issuers: frozenset[str], grants: Grants) -> EffectiveDocument:
    """Return what the service makes of the object."""
    change: Change = advance(PolicySnapshot.EMPTY, {}, _index(text).documents(), issuers, grants=grants)
    (document,) = change.documents
    return document


@given(texts, all_grants, st.booleans())
def test_admission_rejects_exactly_the_documents_that_would_not_take_effect(text: str | None, grants: str | None, enforced: bool) -> None:
    rules = granted(grants, enforced=enforced)
    answer = reviewed(text, KnownPolicy(issuers=frozenset({*ISSUERS, "stranger"}), grants=rules))
    document = followed(text, frozenset({*ISSUERS, "stranger"}), rules)
    entries = {entry.index for entry in document.entries}
    missing = [refusal for refusal in document.refused if refusal.index not in entries]

    event("refused" if answer.refused else "allowed")
    assert (answer.refused is not None) == bool(document.problems or missing)
    if answer.refused is not None:
        for problem in document.findings:
            assert (str(problem)[:1000] in answer.refused.message) is (problem.entry not in entries)


sources_there = st.sampled_from([Source("red", "a"), SOURCE, Source("red", "z"), Source("blue", "b")])


@given(documents, st.dictionaries(sources_there, documents, min_size=1, max_size=4), st.integers(3, 8), st.integers(2, 6))
def test_admission_rejects_documents_over_quota_or_pushing_other_entries_over_quota(
    text: str | None, others: dict[Source, str | None], entries: int, levels: int
) -> None:
    rules = attrs.evolve(NO_GRANTS, limits=NamespaceLimits(entries=entries))
    there: dict[Source, DocumentText] = {source: Text(other) for source, other in others.items()}
    own: dict[Source, DocumentText] = {SOURCE: Text(text)}
    with mock.patch.object(depth, "MAX_DEPTH", levels):
        before, after = (
            advance(PolicySnapshot.EMPTY, {}, documents, ISSUERS | {"stranger"}, grants=rules).snapshot
            for documents in (there, {**there, **own})
        )
        answer = check(SOURCE, Text(text), KnownPolicy(before, ISSUERS | {"stranger"}, rules))
    healthy = {one.source: {entry.index for entry in one.entries} for one in before.documents() if one.source != SOURCE}
    left = {one.source: {entry.index for entry in one.entries} for one in after.documents()}
    pushed_out = [source for source, entered in healthy.items() if entered - left[source]]
    document = after.document(SOURCE)
    assert document is not None
    event(f"{bool(document.problems)}, {bool(pushed_out)}")
    active = {entry.index for entry in document.entries}
    refused = [refusal for refusal in document.refused if refusal.index not in active]
    assert (answer.refused is not None) == bool(document.problems or refused or pushed_out)


@given(texts, all_grants)
def test_an_issuer_that_nobody_knows_is_a_warning_and_refuses_nothing(text: str | None, grants: str | None) -> None:
    rules = granted(grants, enforced=True)
    known, ignorant = (reviewed(text, KnownPolicy(issuers=issuers, grants=rules)) for issuers in (ISSUERS | {"stranger"}, ISSUERS))
    document = followed(text, ISSUERS, rules)

    assert known.refused == ignorant.refused
    if ignorant.refused is None:
        warned = [warning for warning in ignorant.warnings if warning not in known.warnings]
        unknown = [problem for problem in document.findings if problem.entry not in {entry.index for entry in document.entries}]
        assert len(warned) == len(unknown)
        for problem in unknown:
            assert any(str(problem) in warning for warning in warned)


MISTAKES = ["host: 'a.example:443', pathPrefix: /", "host: a.example, pathPrefix: /x, methods: [DELTE]", "host: a.example, pathPrefix: /x/"]


@given(st.lists(st.sampled_from(MISTAKES), max_size=3, unique=True), st.sampled_from(["", " # exchanger: ignore POL-1905, POL-2110"]))
def test_the_webhook_warns_of_the_mistakes_that_check_warns_of(matches: list[str], comment: str) -> None:
    text = check_entries(*(f"{{match: {{{match}}}, action: deny}}{comment}" for match in matches))
    warned = {warning.split(": ")[1] for warning in reviewed(text, KnownPolicy(issuers=ISSUERS)).warnings}
    found = {one.problem.code.name for one in checked(check_config_map(text)).problems}
    assert warned == found & {"POL-1904", "POL-1905", "POL-2110"}
