"""An allow has one of three reasons: nothing matched, OPTIONS without credentials, or an exchange that succeeded."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from exchanger.decision.check import DecisionRules, begin, finish
from exchanger.decision.outcome import Allow, ExchangePending, Reason
from exchanger.oauth.token_response import TokenResponseRules, decode_response
from exchanger.values.token import ExchangedToken
from tests.decision.examples import RULES, request, snapshot

SNAPSHOT = snapshot()

paths = st.one_of(
    st.text(),
    st.sampled_from(["/orders", "/plain/x", "/admin", "/broken", "/tie", "/public"]).flatmap(
        lambda path: st.text(max_size=5).map(lambda tail: path + tail)
    ),
)
authorizations = st.one_of(st.none(), st.text(), st.text().map(lambda text: f"Bearer {text}"), st.just("Bearer token"))
rules = st.builds(
    lambda default_deny, options: attrs.evolve(RULES, default_deny_unmatched=default_deny, allow_unauthenticated_options=options),
    st.booleans(),
    st.booleans(),
)


@given(paths, st.sampled_from(["GET", "OPTIONS", "POST", ""]), authorizations, st.sampled_from(["", "o"]), st.booleans(), rules)
def test_begin_allows_for_two_reasons_only(
    path: str, method: str, authorization: str | None, origin: str, known: bool, chosen: DecisionRules
) -> None:
    asked = request(path, authorization, method, origin=origin, access_control_request_method=origin)
    outcome = begin(asked, SNAPSHOT if known else None, chosen)
    if isinstance(outcome, Allow):
        assert known
        assert outcome.access_token is None
        assert outcome.reason in {Reason.ALLOW_UNMATCHED, Reason.ALLOW_OPTIONS_BYPASS}
        assert (outcome.reason is Reason.ALLOW_UNMATCHED) <= (not chosen.default_deny_unmatched)
        assert (outcome.reason is Reason.ALLOW_OPTIONS_BYPASS) <= (method == "OPTIONS")


@given(st.integers(100, 599), st.binary(), st.lists(st.text(), max_size=3), st.booleans())
def test_only_a_success_of_the_token_endpoint_allows(status: int, body: bytes, challenges: list[str], passthrough: bool) -> None:
    pending = begin(request("/orders", "Bearer token"), SNAPSHOT, RULES)
    assert isinstance(pending, ExchangePending)
    outcome = decode_response(status, challenges, body, TokenResponseRules(error_passthrough=passthrough))
    answer = finish(pending, outcome)
    assert isinstance(answer, Allow) == isinstance(outcome, ExchangedToken)
    if isinstance(answer, Allow):
        assert status == 200
        assert answer.access_token is not None
