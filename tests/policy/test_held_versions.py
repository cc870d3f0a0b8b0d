"""Earlier versions that a snapshot may not loosen yet: the strictest verdict counts, and only hosts that differ are asked again."""

import itertools
from unittest import mock

import attrs
import pytest

from exchanger.policy import snapshot
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.headers import RequestHeaders
from exchanger.policy.interpretation import path_interpretations
from exchanger.policy.routing.table import VirtualHosts
from exchanger.policy.snapshot import PolicySnapshot, stricter
from exchanger.values.entry import AllowEntry, ExchangeEntry, MatchScope
from exchanger.values.request import HeaderFields
from exchanger.values.verdict import AMBIGUOUS_PATH, NO_MATCH, Unhealthy, Verdict
from tests.policy.examples import BLUE, HOST, RED, deny, exchange, region, snapshot_of

# Each lets less pass than those before it.
RANKS: tuple[Verdict, ...] = (
    AllowEntry(RED, 0, MatchScope(HOST, "/")),
    exchange("/"),
    NO_MATCH,
    AMBIGUOUS_PATH,
    Unhealthy("closed"),
    deny("/"),
)


def test_the_verdict_that_lets_less_pass_counts_whichever_version_has_it() -> None:
    for lower, higher in itertools.combinations(RANKS, 2):
        assert stricter(lower, higher, refuses_unmatched=True) is higher
        assert stricter(higher, lower, refuses_unmatched=True) is higher


def test_without_a_default_denial_no_match_lets_all_pass() -> None:
    assert stricter(NO_MATCH, exchange("/")) == exchange("/")
    assert stricter(exchange("/"), NO_MATCH) == exchange("/")


def test_of_two_that_refuse_alike_the_newer_counts_and_of_two_exchanges_the_earlier() -> None:
    assert stricter(deny("/a"), deny("/")) == deny("/a")
    assert stricter(exchange("/a"), exchange("/")) == exchange("/")


def test_versions_are_alike_on_a_host_where_they_share_everything_that_decides_there() -> None:
    version = snapshot_of(deny("/"), exchange("/", source=BLUE, host="other.example.com"))
    assert version.is_alike_on(HOST, version.withdraw(BLUE))
    assert not version.is_alike_on(HOST, version.withdraw(RED))
    assert not version.is_alike_on(HOST, version.leave(BLUE))  # to tell what leaves from the rest, it has to be asked
    assert not version.is_alike_on(HOST, version.with_baseline(VirtualHosts.of([deny("/")])))


def test_a_request_gets_the_strictest_verdict_of_all_versions() -> None:
    earlier = snapshot_of(deny("/"))
    newest = attrs.evolve(snapshot_of(exchange("/", source=BLUE), region("/x", source=BLUE, index=1)), held=(earlier,))
    assert newest.match(HOST, "/a", "GET") == deny("/")
    assert newest.match("other.example.com", "/a", "GET") is NO_MATCH


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_request_is_read_once_for_all_versions(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    named = deny("/", headers=(("x-a", "1"),))
    versions = [snapshot_of(named, exchange(f"/{number}", source=BLUE)) for number in range(4)]
    newest = attrs.evolve(versions[0], held=tuple(versions[1:]), baseline=VirtualHosts.of([deny("/denied")]))
    read, fields = mock.Mock(wraps=path_interpretations), mock.Mock(wraps=RequestHeaders)
    monkeypatch.setattr(snapshot, "path_interpretations", read)
    monkeypatch.setattr(snapshot, "RequestHeaders", fields)
    headers = HeaderFields((("x-a", "2"),), raw=True)
    assert isinstance(newest.match(HOST, "/3/%61", method, raw=True, headers=headers), ExchangeEntry)
    assert (read.call_count, fields.call_count) == (1, 1)


def test_a_document_of_the_same_text_keeps_the_claims_that_stay() -> None:
    """Other grants leave more or less of it."""
    more, less = (PolicyDocument(RED, entries, text="t") for entries in ((deny("/a"), deny("/b", index=1)), (deny("/a"),)))
    for first, second in ((more, less), (less, more)):
        assert PolicySnapshot.EMPTY.apply(first).apply(second) == PolicySnapshot.EMPTY.apply(second)
