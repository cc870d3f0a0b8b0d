"""Whatever a request and its decision hold, an item is JSON, bounded, and without a secret."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.console.decision_json import OPAQUE, DecisionJson, decoded
from exchanger.console.message import encode
from exchanger.decision.outcome import Allow, DecisionRecord, Deny, Filter, Outcome, Reason
from exchanger.values.entry import Source
from exchanger.values.headers import HeaderFields
from exchanger.values.request import HttpRequest
from exchanger.values.secret import Secret
from exchanger.values.trace import TraceContext
from tests.console.running import line

CANARY = "c4n4ry"
FORWARDED = "x-forwarded-access-token"
ANY = st.text(st.characters(), max_size=40)  # lone surrogates included
SOURCES = st.none() | st.builds(Source, ANY, ANY)
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(
        Allow,
        st.sampled_from(Reason),
        SOURCES,
        st.just(Secret(CANARY)),
        st.none() | st.integers(),
        removed=st.sampled_from([(), (FORWARDED,)]),
    ),
    st.builds(
        Deny,
        st.just(Reason.DENY_EXCHANGE_ERROR),
        st.integers(400, 599),
        st.just(CANARY),
        st.just((("WWW-Authenticate", CANARY),)),
        SOURCES,
        detail=ANY,
    ),
    st.builds(
        Deny,
        st.sampled_from(sorted(set(Reason) - {Reason.DENY_EXCHANGE_ERROR}, key=str)),
        st.integers(400, 599),
        ANY,
        st.just(()),
        SOURCES,
        detail=ANY,
    ),
)
REQUESTS = st.builds(
    HttpRequest,
    ANY,
    ANY,
    st.one_of(ANY, ANY.map("/{}".format), ANY.map(lambda path: f"/{path.replace('?', '')}?{CANARY}")),
    st.just(Secret(f"Bearer {CANARY}")),
    st.just(CANARY),
    st.just(CANARY),
    st.builds(TraceContext, ANY, st.just(CANARY), st.just(CANARY)),
    fields=st.just(HeaderFields(((FORWARDED, CANARY), ("cookie", CANARY)), raw=True)),
)
RECORDS = st.builds(DecisionRecord, REQUESTS, OUTCOMES, st.floats(0, 1e6), st.floats(0, 1e6), st.sampled_from(Filter))


class TestAnItem:
    @given(RECORDS, st.integers(), st.floats(0, 4e9))
    def test_is_json_without_a_secret(self, record: DecisionRecord, sequence: int, seconds: float) -> None:
        encoded = encode(DecisionJson(line).item((sequence, seconds, record, 1)))
        assert isinstance(json.loads(encoded), dict)
        assert CANARY.encode() not in encoded

    @given(RECORDS)
    def test_touches_no_secret(self, record: DecisionRecord) -> None:
        def touched(_self: Secret) -> str:
            raise AssertionError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Secret, "reveal", touched)
            DecisionJson(line).item((1, 0.0, record, 1))

    @given(RECORDS)
    def test_is_json_where_tokens_are_shown_too(self, record: DecisionRecord) -> None:
        shown = json.loads(encode(DecisionJson(line, show_tokens=True).item((1, 0.0, record, 1))))
        assert shown["tokens"]["subject"] == OPAQUE

    @given(st.text(max_size=4000), st.text(max_size=4000))
    def test_is_bounded(self, path: str, host: str) -> None:
        record = DecisionRecord(HttpRequest("M" * 1000, host, path), Deny(Reason.DENY_EXPLICIT_POLICY, 403, path, detail=host), 0.0, 0.0)
        assert len(encode(DecisionJson(line).item((1, 0.0, record, 1)))) < 64 * 1024


class TestATokenIsLookedInto:
    @given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,40}(\.[A-Za-z0-9_-]{0,40}){1,3}", fullmatch=True))
    def test_whatever_it_is(self, token: str) -> None:
        encode(decoded(token))
