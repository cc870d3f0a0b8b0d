"""Laws of look-ups: which entry or fail-closed scope decides, in every spelling of a path and in every version of the policy."""

from collections.abc import Callable

from hypothesis import assume, event, example, given
from hypothesis import strategies as st

from exchanger.model.entry import (
    EVERYWHERE,
    AllowEntry,
    DenyEntry,
    ExchangeEntry,
    FailClosedScope,
    MatchScope,
    Source,
    TokenTarget,
)
from exchanger.model.policy_decision import AMBIGUOUS_PATH, NO_MATCH, Ambiguous, PolicyDecision, Unhealthy
from exchanger.model.request import HeaderFields
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.path import MAX_INTERPRETATIONS, MalformedPath, interpretations_of, is_plain_with_query, read_path
from exchanger.policy.snapshot import PolicySnapshot, UnreadableReach
from exchanger.policy.table import CONFLICT, SEVERAL_CLOSED_SCOPES
from tests.property.policy_fuzz import said
from tests.property.policy_model import (
    CLOSED,
    DISPUTED,
    Fields,
    agreed,
    answer,
    claims_of,
    covers,
    decision,
    hosts_above,
    parts_of,
    read_otherwise,
    some_dropped,
    strictness,
)
from tests.property.strategies_policy import (
    contents_of,
    counters_of,
    documents,
    header_fields,
    hosts,
    method_sets,
    methods,
    odd_paths,
    plain_paths,
    policies,
    prefixes,
    queries,
    rarely,
    reaches,
    recounted,
    scopes_over,
    snapshot_of,
    sources,
    targets,
)

# Law: a match is what a look at every entry and fail-closed scope says, for every text that the path may have been.
#
# "Host equal; pathPrefix is a plain string prefix; the longest matching prefix among entries whose methods match wins; two winners of equal
# length make that request unhealthy. An unhealthy area wins over any healthy entry inside it", but one of unknown host closes only what no
# healthy entry of another namespace decides. HEAD gets the stricter of what covers HEAD itself and what decides GET.


ONE = Source("red", "one")

# Prefixes and paths that meet where a ``!`` stands for something else.
BEYOND_ASCII = "éя"
SOMETHING_ELSE = "ž"  # a character that no prefix has
masked_prefixes = st.text("/aA!éя?", max_size=4).map(lambda rest: "/" + rest)
simple_prefixes = st.lists(st.sampled_from([*"/aAéя?", "%61"]), max_size=4).map(lambda rest: "/" + "".join(rest))
masked_paths = st.builds(
    lambda first, rest: "/" + first + rest, st.text("aAé!!", min_size=1, max_size=4), st.sampled_from(["", "/a", "/!", "?", "?!", "?a!"])
)
# Where nothing is left to merge without them; some are escaped.
ascii_paths = st.builds(
    lambda path, letter: path.replace("é", letter).replace("/!", f"/{letter}!"), masked_paths, st.sampled_from(["a", "%61"])
)


get_and_head = st.none() | st.sampled_from([frozenset({"GET"}), frozenset({"HEAD"}), frozenset({"GET", "HEAD"})])


def policies_over(
    prefixes: st.SearchStrategy[str], methods: st.SearchStrategy[frozenset[str] | None] | None = None
) -> st.SearchStrategy[list[PolicyDocument]]:
    scopes, closed_scopes = scopes_over(prefixes) if methods is None else scopes_over(prefixes, methods=methods)
    healthy = documents(max_closed_scopes=0, scopes=scopes)
    return st.lists(rarely(documents(scopes=scopes, fail_closed_matches=closed_scopes), healthy, one_in=8), max_size=3)


def policy_over(*allowed: str, denied: str) -> list[PolicyDocument]:
    """Return a policy that allows the root and what is below each prefix, except for what is below ``denied``."""
    allows = [AllowEntry(ONE, index, MatchScope("a.example", prefix)) for index, prefix in enumerate(dict.fromkeys(("/", *allowed)))]
    entries = [entry for entry in allows if entry.match.path_prefix != denied]
    return [PolicyDocument(ONE, (*entries, DenyEntry(ONE, len(allows), MatchScope("a.example", denied))))]


GET = frozenset({"GET"})
CLOSED_FOR_GET = PolicyDocument(
    ONE, (AllowEntry(ONE, 0, MatchScope("a.example", "/a")),), (FailClosedScope(ONE, MatchScope("a.example", "/a", GET), "bad", 1),)
)


@example([CLOSED_FOR_GET], UnreadableReach.UNMATCHED, "a.example", "/a", "", "GET", [])
@given(policies, reaches, hosts, plain_paths, queries, methods, header_fields)
def test_a_match_is_what_a_linear_scan_says(
    policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, query: str, method: str, fields: list[tuple[str, str]]
) -> None:
    headers = HeaderFields(tuple(fields), raw=True)
    outcome = snapshot_of(policy, reach).match(host, path + query, method, headers=headers)

    event(type(outcome).__name__)
    assert said(outcome) == answer(parts_of(policy), reach, host, path + query, method, fields)
    if isinstance(outcome, Unhealthy) and outcome is not CONFLICT:
        on, asked = {None, *hosts_above(host)}, {method, "GET"} if method == "HEAD" else {method}
        closing = [claim for claim in claims_of(policy) if isinstance(claim, FailClosedScope) and claim.match.host in on]
        here = [(one.source, one.index) for one in closing if any(covers(one.match, path + query, each) for each in asked)]
        assert (outcome.source, outcome.index) in here or (outcome is SEVERAL_CLOSED_SCOPES and len(here) > 1)


GETS = ExchangeEntry(ONE, 0, MatchScope("a.example", "/a", GET), TokenTarget("primary", "r"))


@example([PolicyDocument(ONE, (GETS, DenyEntry(ONE, 1, MatchScope("a.example", "/"))))], UnreadableReach.UNMATCHED, "a.example", "/a", [])
@given(policies_over(st.sampled_from(["/", "/a", "/a/b", "/b"]), get_and_head), reaches, hosts, plain_paths, header_fields)
def test_head_gets_the_stricter_of_its_own_verdict_and_that_of_get(
    policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, fields: list[tuple[str, str]]
) -> None:
    snapshot, headers = snapshot_of(policy, reach), HeaderFields(tuple(fields), raw=True)

    found = said(snapshot.match(host, path, "HEAD", headers=headers))

    event(found if isinstance(found, str) else type(found).__name__)
    assert found == answer(parts_of(policy), reach, host, path, "HEAD", fields)
    assert strictness(found) >= strictness(said(snapshot.match(host, path, "GET", headers=headers)))


@given(policies, reaches, hosts | st.sampled_from(["", "a b", "a.example:80"]), odd_paths, methods, header_fields)
def test_all_readings_of_an_odd_request_agree_or_it_is_refused(
    policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, method: str, fields: Fields
) -> None:
    outcome = snapshot_of(policy, reach).match(host, path, method, raw=True, headers=HeaderFields(tuple(fields), raw=True))

    event(type(outcome).__name__)
    assert said(outcome) == decision(parts_of(policy), reach, host, path, method, fields)


escaped = st.lists(st.sampled_from(["/", "a", "%2F", "%61", "é", "%C3%A9"]), max_size=5).map(lambda parts: "/" + "".join(parts))


@given(policies_over(escaped), reaches, hosts, escaped, methods)
def test_a_written_prefix_comes_before_a_decoded_one(
    policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, method: str
) -> None:
    outcome = snapshot_of(policy, reach).match(host, path, method, raw=True)

    event(type(outcome).__name__)
    assert said(outcome) == decision(parts_of(policy), reach, host, path, method, [])


@given(policies_over(masked_prefixes), reaches, hosts, masked_paths, methods)
def test_a_raw_path_is_what_it_is(policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, method: str) -> None:
    outcome = said(snapshot_of(policy, reach).match(host, path, method, raw=True))

    expected = answer(parts_of(policy), reach, host, path, method)
    assert outcome == expected or (not path.isascii() and outcome in {CLOSED, DISPUTED})  # it may also be read in its normal form


@example(policy_over("/éb", denied="/я"), UnreadableReach.UNMATCHED, "a.example", "/!b", "GET")
@example(policy_over("/éb", denied="/я"), UnreadableReach.UNMATCHED, "a.example", "/!b", "HEAD")
@example(policy_over("/!!", denied="/!"), UnreadableReach.UNMATCHED, "a.example", "/!!", "GET")
@example(policy_over("/aa", denied="/a"), UnreadableReach.UNMATCHED, "a.example", "/!a!a", "GET")
@example(policy_over("/!", "/", denied="/"), UnreadableReach.UNMATCHED, "a.example", "/!", "GET")
@given(policies_over(masked_prefixes), reaches, hosts, masked_paths, methods)
def test_what_a_mark_may_hide_never_opens(policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, method: str) -> None:
    snapshot = snapshot_of(policy, reach)
    outcome = said(snapshot.match(host, path, method))

    event(type(outcome).__name__)
    assert outcome == said(snapshot.match(host, path, method, raw=True)) or outcome in {CLOSED, DISPUTED}
    if outcome not in {CLOSED, DISPUTED}:
        possible = {*read_otherwise(path, BEYOND_ASCII + SOMETHING_ELSE), *some_dropped(path)}
        others = [answer(parts_of(policy), reach, host, one, method) for one in sorted(possible)]
        assert agreed([outcome, *others]) == outcome


@example(policy_over(denied="/%61"), UnreadableReach.UNMATCHED, "a.example", "/a!", "GET")
@example(policy_over("/%61", denied="/"), UnreadableReach.UNMATCHED, "a.example", "/%61!", "GET")
@given(policies_over(simple_prefixes), reaches, hosts, ascii_paths, methods)
def test_a_mark_that_makes_no_difference_refuses_nothing(
    policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, method: str
) -> None:
    outcome = said(snapshot_of(policy, reach).match(host, path, method))

    possible = [path, *read_otherwise(path, BEYOND_ASCII + SOMETHING_ELSE), *some_dropped(path)]
    expected = agreed(decision(parts_of(policy), reach, host, one, method, []) for one in possible)
    event(str(expected) if isinstance(expected, str) else type(expected).__name__)
    if expected == DISPUTED or (isinstance(expected, DenyEntry) and outcome == DISPUTED):  # several denials that it may be are a dispute
        assert outcome in {CLOSED, DISPUTED}
    else:
        assert outcome == expected


# Values of a header that meet where a ``!`` stands for something else, or for nothing.
masked_values = st.text("a!éя", max_size=3)
header_scopes, _ = scopes_over(st.sampled_from(["/", "/a"]), st.just(()) | masked_values.map(lambda value: (("x-a", value),)))
# Three entries: four with headers may exceed the quota of their namespace, and fail closed.
policies_with_headers = st.lists(documents(max_entries=1, max_closed_scopes=0, scopes=header_scopes), max_size=3)


@example([PolicyDocument(ONE, (DenyEntry(ONE, 0, MatchScope("a.example", "/", headers=(("x-a", "é"),))),))], "a.example", "!", "GET")
@given(policies_with_headers, hosts, masked_values, methods)
def test_what_a_mark_in_a_header_may_hide_never_opens(policy: list[PolicyDocument], host: str, value: str, method: str) -> None:
    outcome = said(snapshot_of(policy).match(host, "/a", method, raw=True, headers=HeaderFields((("x-a", value),))))

    event(type(outcome).__name__)
    possible = {*read_otherwise(value, BEYOND_ASCII + SOMETHING_ELSE), *some_dropped(value)}
    others = [answer(parts_of(policy), UnreadableReach.UNMATCHED, host, "/a", method, [("x-a", one)]) for one in sorted(possible)]
    assert outcome in {CLOSED, DISPUTED} or agreed(others) == outcome
    if "!" not in value:
        assert outcome == others[0]


def test_nothing_is_disputed_about_a_policy_that_says_nothing() -> None:
    assert snapshot_of([]).match("a.example", "/a!", "GET") is NO_MATCH
    assert said(AMBIGUOUS_PATH) == DISPUTED


# Law: no document of one namespace changes what a healthy entry of another decides, unless it names the host.
#
# Documents come, break and go; whatever cannot be read of them, or on which host it was meant, closes what nobody else decides. And nothing
# opens by that: what a broken document adds is refusals.


A, B = Source("red", "one"), Source("blue", "one")
REQUESTED = "a.example"

unknown = st.builds(MatchScope, st.none(), st.just("") | prefixes, method_sets, st.booleans()) | st.just(EVERYWHERE)
elsewhere = st.builds(MatchScope, st.just("b.example"), prefixes, method_sets, st.booleans())


@st.composite
def strangers(draw: st.DrawFn) -> PolicyDocument:
    """Draw a document of another team without the host: entries for a different one, and fail-closed scopes that may be for any."""
    entries = [
        DenyEntry(B, index, area) if target is None else ExchangeEntry(B, index, area, target)
        for index, (area, target) in enumerate(draw(st.lists(st.tuples(elsewhere, st.none() | targets), max_size=2)))
    ]
    areas = draw(st.lists(unknown | elsewhere, max_size=2))
    closed_scopes = [FailClosedScope(B, area, "cannot be read", index) for index, area in enumerate(areas, len(entries))]
    return PolicyDocument(B, tuple(entries), tuple(closed_scopes))


ours = st.lists(documents(st.builds(Source, st.just("red"), st.sampled_from(["one", "two"])), max_closed_scopes=0), max_size=2)


def decides(outcome: PolicyDecision) -> bool:
    return isinstance(outcome, DenyEntry | ExchangeEntry)


@given(ours, strangers(), odd_paths, methods, st.booleans())
def test_a_strangers_document_changes_no_decision(
    policy: list[PolicyDocument],
    theirs: PolicyDocument,
    path: str,
    method: str,
    raw: bool,
) -> None:
    alone, beside = snapshot_of(policy), snapshot_of([*policy, theirs])
    before, after = (snapshot.match(REQUESTED, path, method, raw=raw) for snapshot in (alone, beside))

    event(f"{type(before).__name__} → {type(after).__name__}")
    if decides(before) or decides(after):
        assert before == after
    elif before != after:
        assert isinstance(after, Unhealthy | Ambiguous)
    assert beside.changed({B: None}).match(REQUESTED, path, method, raw=raw) == before


@given(policies, unknown, hosts, odd_paths, methods)
def test_a_document_that_breaks_opens_nothing(policy: list[PolicyDocument], area: MatchScope, host: str, path: str, method: str) -> None:
    broken = PolicyDocument(Source("green", "one"), closed_scopes=(FailClosedScope(Source("green", "one"), area, "cannot be read"),))
    snapshot = snapshot_of(policy)
    before, after = snapshot.match(host, path, method), snapshot.changed({broken.source: broken}).match(host, path, method)

    event(f"{type(before).__name__} → {type(after).__name__}")
    assert after == before or isinstance(after, Unhealthy | Ambiguous)


@given(policies, hosts, plain_paths, methods)
def test_what_is_closed_for_less_is_closed_for_everything(policy: list[PolicyDocument], host: str, path: str, method: str) -> None:
    unmatched, everything = (snapshot_of(policy, reach).match(host, path, method) for reach in UnreadableReach)

    assert everything == unmatched or isinstance(everything, Unhealthy)


@given(ours, odd_paths, methods)
def test_a_team_that_breaks_its_own_document_closes_its_own_decisions(policy: list[PolicyDocument], path: str, method: str) -> None:
    broken = PolicyDocument(Source("red", "three"), closed_scopes=(FailClosedScope(Source("red", "three"), EVERYWHERE, "cannot be read"),))
    snapshot = snapshot_of(policy)
    assume(not isinstance(snapshot.match(REQUESTED, path, method), Ambiguous))

    assert isinstance(snapshot.changed({broken.source: broken}).match(REQUESTED, path, method), Unhealthy)


# Law: the interpretations of a path are closed under the rewritings of servers.
#
# RFC 3986 section 6.2.2: normalisation does not change what is normal already, and what is normalised twice is what is normalised once.


odd_parts = st.lists(
    st.sampled_from(
        ["a", "b", "/", "//", ".", "..", "/../", "/./", ";", ";x", "\\", "%2f", "%2F", "%5c", "%2e", "%61", "%3b", "%25", "%2561", "%3f"]
    )
    | st.sampled_from(["\uff0f", "\uff0e", "\uff05", "\u00e9", "%C3%A9", "\ufb03", "%E2%80%A5"]),
    max_size=8,
).map("".join)
spelt_paths = odd_parts.map(lambda part: "/" + part)
any_paths = st.text() | st.text(alphabet="/.;%\\?#*ab25eEfF \0\uff0f\ud800").map(lambda rest: "/" + rest)


@given(spelt_paths)
def test_interpretations_of_interpretations_are_interpretations(path: str) -> None:
    interpretations = interpretations_of(path)
    event("malformed" if isinstance(interpretations, MalformedPath) else f"{len(interpretations)} interpretations")
    if isinstance(interpretations, MalformedPath):
        return
    for interpretation in interpretations:
        again = interpretations_of(interpretation)
        assert isinstance(again, tuple)
        assert set(again) <= set(interpretations)


@given(spelt_paths | any_paths, st.sampled_from(["GET", "OPTIONS"]))
def test_a_path_is_a_reading_of_itself(path: str, method: str) -> None:
    interpretations = read_path(path, method)
    if isinstance(interpretations, tuple):
        assert interpretations[0] == path
        assert len(set(interpretations)) == len(interpretations) <= MAX_INTERPRETATIONS
        assert all(interpretation.startswith("/") for interpretation in interpretations if interpretation != "*")


@given(plain_paths, queries)
def test_a_plain_path_has_one_interpretation(path: str, query: str) -> None:
    assert read_path(path + query, "GET") == (path + query,)
    assert is_plain_with_query(path)


@given(spelt_paths, queries)
def test_the_query_makes_no_difference(path: str, query: str) -> None:
    bare, full = read_path(path, "GET"), read_path(path + query, "GET")
    if isinstance(bare, MalformedPath):
        assert full == bare
    else:
        assert full == tuple(interpretation + query for interpretation in bare)


# Law: no spelling opens.
#
# Another spelling of a request gets the decision of the request itself, or is refused; never does it pass by an entry or fail-closed scope.
# RFC 3986 section 6 is about spellings of one resource; this law is about those that some server takes for one.


# A respelling changes a path at a place that is given by a number, in a way that some server undoes.
Respelling = Callable[[str, int], str]


def at_some(text: str, wanted: str, where: int, change: Callable[[str, int], str]) -> str:
    """Apply ``change`` at one of the places of ``text`` that have one of the ``wanted`` characters."""
    places = [place for place, char in enumerate(text) if char in wanted]
    return change(text, places[where % len(places)]) if places else text


def encode(text: str, where: int) -> str:
    place = where % len(text)
    octets = "".join(f"%{octet:02x}" for octet in text[place].encode())
    return text[:place] + (octets if where % 2 else octets.upper()) + text[place + 1 :]


def encode_everything(text: str, _: int) -> str:
    return text[0] + "".join(f"%{octet:02X}" for octet in text[1:].encode())


def encode_escapes(text: str, _: int) -> str:
    return text.replace("%", "%25")


def insert_after_slash(inserted: str) -> Respelling:
    return lambda text, where: at_some(text, "/", where, lambda text, place: text[: place + 1] + inserted + text[place + 1 :])


def add_parameter(text: str, where: int) -> str:
    """Add one before a slash other than the first, or at the end."""
    ends = [*(place for place, char in enumerate(text) if char == "/" and place), len(text)]
    end = ends[where % len(ends)]
    return text[:end] + (";x=1" if where % 2 else ";") + text[end:]


def backslash(text: str, where: int) -> str:
    return text[0] + at_some(text[1:], "/", where, lambda text, place: text[:place] + "\\" + text[place + 1 :])


def widen(text: str, where: int) -> str:
    """Put the fullwidth form of a character in its place."""
    place = where % len(text)
    return text[:place] + chr(ord(text[place]) + 0xFEE0) + text[place + 1 :] if "!" <= text[place] <= "~" else text


def after_a_host(text: str, where: int) -> str:
    return "/" * (2 + where % 2) + "host:8" + text


RESPELLINGS: tuple[Respelling, ...] = (
    encode,
    encode,
    encode_everything,
    encode_escapes,
    insert_after_slash("./"),
    insert_after_slash("x/../"),
    insert_after_slash("a/b/../../"),
    insert_after_slash("/"),
    add_parameter,
    backslash,
    widen,
    after_a_host,
)
steps = st.lists(st.tuples(st.sampled_from(RESPELLINGS), st.integers(min_value=0, max_value=60)), min_size=1, max_size=5)


def respelled(path: str, steps: list[tuple[Respelling, int]]) -> str:
    for respell, where in steps:
        path = respell(path, where)
    return path


@given(plain_paths, steps)
def test_a_path_is_among_the_interpretations_of_its_spellings(path: str, steps: list[tuple[Respelling, int]]) -> None:
    interpretations = read_path(respelled(path, steps), "GET")
    event(f"{len(interpretations)} interpretations" if isinstance(interpretations, tuple) else interpretations.value)
    if isinstance(interpretations, tuple):
        assert path in interpretations


@given(policies, hosts, plain_paths, queries, methods, steps)
def test_no_spelling_opens(
    policy: list[PolicyDocument], host: str, path: str, query: str, method: str, steps: list[tuple[Respelling, int]]
) -> None:
    snapshot = snapshot_of(policy)
    canonical = snapshot.match(host, path + query, method)

    outcome = snapshot.match(host, respelled(path, steps) + query, method)

    event(f"{type(canonical).__name__} → {type(outcome).__name__}")
    if isinstance(outcome, Ambiguous | Unhealthy):
        return
    # Entries that deny, or that let pass unchanged, differ in nothing but their authors.
    alike = type(outcome) is type(canonical) and isinstance(outcome, DenyEntry | AllowEntry)
    assert outcome == canonical or alike
    assert (outcome is NO_MATCH) == (canonical is NO_MATCH)


# Law: a policy is the set of its newest documents, whatever order they came in, and a version never changes.
#
# Sources make a new version, requests read the current one, nothing is ever changed in place.


requests = st.lists(st.tuples(hosts, plain_paths, methods), min_size=1, max_size=5)
changes = st.lists(documents() | sources, max_size=8)  # a document comes, or a source's document goes


def changed(snapshot: PolicySnapshot, change: PolicyDocument | Source) -> PolicySnapshot:
    return snapshot.changed({change: None} if isinstance(change, Source) else {change.source: change})


@given(st.data(), policies, requests)
def test_the_order_of_documents_makes_no_difference(
    data: st.DataObject, policy: list[PolicyDocument], requests: list[tuple[str, str, str]]
) -> None:
    newest = list({document.source: document for document in policy}.values())
    first, second = snapshot_of(policy), snapshot_of(data.draw(st.permutations(newest)))

    assert contents_of(first) == contents_of(second)
    for host, path, method in requests:
        assert said(first.match(host, path, method)) == said(second.match(host, path, method))


@given(changes)
def test_a_policy_is_its_newest_documents(changes: list[PolicyDocument | Source]) -> None:
    snapshot = snapshot_of([])
    newest: dict[Source, PolicyDocument] = {}
    for change in changes:
        snapshot = changed(snapshot, change)
        if isinstance(change, Source):
            newest.pop(change, None)
        else:
            newest[change.source] = change

    assert contents_of(snapshot) == contents_of(snapshot_of(newest.values()))
    assert {document.source: document.document for document in snapshot.documents()} == newest
    assert all(snapshot.document(source) is not None for source in newest)
    assert counters_of(snapshot) == recounted(snapshot)
    for source in newest:
        snapshot = snapshot.changed({source: None})
    assert contents_of(snapshot) == contents_of(snapshot_of([]))


@given(policies, changes, requests)
def test_old_versions_stay(
    policy: list[PolicyDocument], changes: list[PolicyDocument | Source], requests: list[tuple[str, str, str]]
) -> None:
    old = snapshot_of(policy)
    before = [old.match(*request) for request in requests]
    new = old
    for change in changes:
        new = changed(new, change)

    assert [old.match(*request) for request in requests] == before
    assert contents_of(old) == contents_of(snapshot_of(policy))
