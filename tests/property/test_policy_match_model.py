"""Law: a match is what a look at every entry and region says, for every text that the path may have been.

"Host equal; pathPrefix is a plain string prefix; the longest matching prefix among entries whose methods match wins; two winners of equal
length make that request unhealthy. An unhealthy area wins over any healthy entry inside it", but one of unknown host closes only what no
healthy entry of another namespace decides. HEAD gets the stricter of what covers HEAD itself and what decides GET.
"""

import attrs
from hypothesis import event, example, given
from hypothesis import strategies as st

from exchanger.policy.conflicts import contenders
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.lookup import CONFLICT, UnreadableReach
from exchanger.values.entry import Claim, DenyEntry, Entry, ExchangeEntry, MatchScope, Source, TokenTarget
from exchanger.values.headers import HeaderFields
from exchanger.values.verdict import AMBIGUOUS_PATH, NO_MATCH, Ambiguous, NoMatch, Unhealthy, Verdict
from tests.property.policy_model import (
    CLOSED,
    DISPUTED,
    UNMATCHED,
    Answer,
    agreed,
    answer,
    hosts_above,
    on_hosts,
    read_otherwise,
    some_dropped,
    strictness,
)
from tests.property.strategies_policy import (
    documents,
    header_fields,
    hosts,
    methods,
    plain_paths,
    policies,
    queries,
    rarely,
    reaches,
    scopes_over,
    snapshot_of,
)

# Prefixes and paths that meet where a ``!`` stands for something else.
BEYOND_ASCII = "éя"
SOMETHING_ELSE = "ž"  # a character that no prefix has
masked_prefixes = st.text("/aA!é?", max_size=4).map(lambda rest: "/" + rest)
simple_prefixes = st.text("/aAéя?", max_size=4).map(lambda rest: "/" + rest)
masked_paths = st.builds(
    lambda first, rest: "/" + first + rest, st.text("aAé!!", min_size=1, max_size=4), st.sampled_from(["", "/a", "/!", "?", "?!", "?a!"])
)
ascii_paths = masked_paths.map(lambda path: path.replace("é", "a").replace("/!", "/a!"))  # where nothing is left to merge without them


method_sets = st.none() | st.sampled_from([frozenset({"GET"}), frozenset({"HEAD"}), frozenset({"GET", "HEAD"})])


def policies_over(
    prefixes: st.SearchStrategy[str], methods: st.SearchStrategy[frozenset[str] | None] | None = None
) -> st.SearchStrategy[list[PolicyDocument]]:
    scopes, regions = scopes_over(prefixes) if methods is None else scopes_over(prefixes, methods=methods)
    healthy = documents(max_regions=0, scopes=scopes)
    return st.lists(rarely(documents(scopes=scopes, region_scopes=regions), healthy, one_in=8), max_size=3)


def said(verdict: Verdict) -> Answer:
    if isinstance(verdict, NoMatch):
        return UNMATCHED
    if isinstance(verdict, Unhealthy):
        return CLOSED
    return DISPUTED if isinstance(verdict, Ambiguous) else verdict


@given(policies, reaches, hosts, plain_paths, queries, methods, header_fields)
def test_a_match_is_what_a_linear_scan_says(
    policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, query: str, method: str, fields: list[tuple[str, str]]
) -> None:
    headers = HeaderFields(tuple(fields), raw=True)
    verdict = snapshot_of(policy, reach).match(host, path + query, method, headers=headers)

    event(type(verdict).__name__)
    assert said(verdict) == answer(policy, reach, host, path + query, method, fields)
    if isinstance(verdict, Unhealthy) and verdict.source is not None:
        assert verdict.source in {document.source for document in policy if document.regions}


ONE = Source("red", "one")
GETS = ExchangeEntry(ONE, 0, MatchScope("a.example", "/a", frozenset({"GET"})), TokenTarget("primary", "r"))


@example([PolicyDocument(ONE, (GETS, DenyEntry(ONE, 1, MatchScope("a.example", "/"))))], UnreadableReach.UNMATCHED, "a.example", "/a", [])
@given(policies_over(st.sampled_from(["/", "/a", "/a/b", "/b"]), method_sets), reaches, hosts, plain_paths, header_fields)
def test_head_gets_the_stricter_of_its_own_verdict_and_that_of_get(
    policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, fields: list[tuple[str, str]]
) -> None:
    snapshot, headers = snapshot_of(policy, reach), HeaderFields(tuple(fields), raw=True)

    found = said(snapshot.match(host, path, "HEAD", headers=headers))

    event(found if isinstance(found, str) else type(found).__name__)
    assert found == answer(policy, reach, host, path, "HEAD", fields)
    assert strictness(found) >= strictness(said(snapshot.match(host, path, "GET", headers=headers)))


@given(policies, hosts, plain_paths, queries, methods)
def test_a_conflict_can_be_told_and_names_two_that_tie(policy: list[PolicyDocument], host: str, path: str, query: str, method: str) -> None:
    policy = [*policy, *(attrs.evolve(document, regions=()) for document in policy)]
    snapshot = snapshot_of(policy)
    entries = [entry for document in snapshot.documents.values() for entry in document.entries]
    names, claims = list(hosts_above(host)), list[Claim](entries)
    asked = ["GET", "HEAD"] if method == "HEAD" else [method]
    tied: list[Entry | str] = []
    for one in asked:
        here, names = on_hosts(claims, names, path + query, one, [])
        tied += here if len(here) > 1 else []

    found = contenders(snapshot, host, path + query, method, raw=True)

    event(f"{len(found)} named")
    assert set(found) <= set(tied)
    assert len(found) == (2 if snapshot.match(host, path + query, method, raw=True) is CONFLICT else 0)


@given(policies_over(masked_prefixes), reaches, hosts, masked_paths, methods)
def test_a_raw_path_is_what_it_is(policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, method: str) -> None:
    verdict = said(snapshot_of(policy, reach).match(host, path, method, raw=True))

    expected = answer(policy, reach, host, path, method)
    assert verdict == expected or (not path.isascii() and verdict in {CLOSED, DISPUTED})  # it may also be read in its normal form


@given(policies_over(masked_prefixes), reaches, hosts, masked_paths, methods)
def test_what_a_mark_may_hide_never_opens(policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, method: str) -> None:
    snapshot = snapshot_of(policy, reach)
    verdict = said(snapshot.match(host, path, method))

    event(type(verdict).__name__)
    assert verdict == said(snapshot.match(host, path, method, raw=True)) or verdict in {CLOSED, DISPUTED}
    if verdict not in {CLOSED, DISPUTED}:
        possible = {*read_otherwise(path, BEYOND_ASCII + SOMETHING_ELSE), *some_dropped(path)}
        others = [answer(policy, reach, host, one, method) for one in sorted(possible)]
        assert agreed([verdict, *others]) == verdict


@given(policies_over(simple_prefixes), reaches, hosts, ascii_paths, methods)
def test_a_mark_that_makes_no_difference_refuses_nothing(
    policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, method: str
) -> None:
    verdict = said(snapshot_of(policy, reach).match(host, path, method))

    expected = agreed(answer(policy, reach, host, one, method) for one in [path, *read_otherwise(path, BEYOND_ASCII + SOMETHING_ELSE)])
    event(str(expected) if isinstance(expected, str) else type(expected).__name__)
    if expected == DISPUTED or (isinstance(expected, DenyEntry) and verdict == DISPUTED):  # several denials that it may be are a dispute
        assert verdict in {CLOSED, DISPUTED}
    else:
        assert verdict == expected


def test_nothing_is_disputed_about_a_policy_that_says_nothing() -> None:
    assert snapshot_of([]).match("a.example", "/a!", "GET") is NO_MATCH
    assert said(AMBIGUOUS_PATH) == DISPUTED
