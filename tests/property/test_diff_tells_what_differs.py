"""Laws: a comparison shows nothing that does not differ, and each request that is decided differently lies in an area that it shows."""

from unittest import mock

import attrs
from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.decision.answer import Answer
from exchanger.policy import shares
from exchanger.policy.authority import read_authority, wildcards_above
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.lookup import UnreadableReach
from exchanger.policy.path import is_plain_with_query
from exchanger.tools.areas import NO_HOST, PathKind
from exchanger.tools.diff import Area, compare
from exchanger.tools.policies import AssembledPolicy
from exchanger.tools.question import Question, read_question
from exchanger.values.entry import DenyEntry
from exchanger.values.request import HttpRequest
from tests.property.strategies_policy import documents, policies, reaches
from tests.property.strategies_tools import baselines, policy_of, requests

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
    regions = document.regions if draw(st.booleans()) else ()
    after = PolicyDocument(document.source, (*kept, *added), regions)
    return before, [*before[:at], after, *before[at + 1 :]]


pairs = edits() | st.tuples(policies, policies)


def decided(answer: Answer) -> tuple[object, ...]:
    return answer.effect, answer.status, answer.target, answer.resource_metadata


def is_of(area: Area, request: HttpRequest) -> bool:
    """Tell whether the host of ``request`` is one of those that ``area`` stands for."""
    asked, shown = read_authority(request.host), read_authority(area.example.request.host)
    if asked is None or shown is None:
        return asked is shown
    return asked == shown or bool(set(wildcards_above(asked)) & set(wildcards_above(shown))) or area.hosts == "any other host"


@given(pairs, st.integers(0, 4), st.integers(1, 2), st.lists(requests, min_size=10, max_size=40))
def test_what_differs_where_a_share_is_exceeded_is_shown(pair: Pair, lookups: int, closing: int, asked: list[HttpRequest]) -> None:
    """Then regions close for more than any claim that only one of the policies has."""
    with mock.patch.object(shares, "MAX_LOOKUPS", lookups), mock.patch.object(shares, "MAX_CLOSING", closing):
        old, new = map(policy_of, pair)
    shown(old, new, asked)


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
