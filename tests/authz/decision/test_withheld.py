"""Questions that travel: no token leaves whoever asks, and the answer is the same as if it did."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.authz.decision.answer import asked_request
from exchanger.authz.decision.subject import read_subject
from exchanger.authz.decision.withheld import (
    CREDENTIALS,
    PUBLIC,
    TELLING_NAMES,
    TELLING_VALUES,
    numbered,
    split_sensitive_headers,
    stand_in,
)
from exchanger.model.bearer import is_bearer_token
from exchanger.model.issuer import SubjectRules
from exchanger.model.secret import Secret

PAGE = Path(__file__).parents[3] / "exchanger/operations/console/page/explain.js"
NAMES = ("x-forwarded-access-token", "x-jwt-assertion", "x-id-token")
tokens = st.sampled_from(["", "a", "b", "c", "two words", 'quoted"', "a,a", "2", "token-1"])


@given(st.lists(st.tuples(st.sampled_from(NAMES), tokens)), st.sampled_from([None, "Bearer a", "Bearer b", "Basic x"]), st.booleans())
def test_what_is_said_of_tokens_leads_to_the_same_as_the_tokens(
    headers: list[tuple[str, str]], authorization: str | None, with_authorization: bool
) -> None:
    rules = SubjectRules((*(("authorization",) if with_authorization else ()), *NAMES))
    given_one = [] if authorization is None else [("authorization", authorization)]
    shown, withheld = split_sensitive_headers([*given_one, *headers])
    assert shown == []
    said = numbered(None if authorization is None else Secret(authorization), withheld)
    values = [(name, stand_in(held)) for name, held in said]
    travelled_one = (
        [] if authorization is None else [("authorization", "Bearer token-1" if authorization[:6] == "Bearer" else authorization)]
    )
    real = read_subject(asked_request("GET", "h", "/", [*given_one, *headers], raw=True), rules)
    travelled = [*travelled_one, *((name, value) for name, value in values if value is not None)]
    assert len(travelled) == len(given_one) + len(headers)
    found = read_subject(asked_request("GET", "h", "/", travelled, raw=True), rules)
    assert isinstance(found, Secret) == isinstance(real, Secret)
    assert isinstance(real, Secret) or found is real


def test_equal_tokens_have_equal_numbers() -> None:
    headers = [(name, name[:1]) for name in ("b", "a", "c", "b-again", "a-again")]
    assert [held for _, held in numbered(Secret("Bearer a"), headers)] == ["2", "1", "3", "2", "1"]


@given(st.text(alphabet="!#$%&'*+-.^_`|~azAZ09", min_size=1), st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_a_header_value_that_looks_like_a_token_is_never_shown(name: str, value: str) -> None:
    for token in ("eyJ" + value, f"Bearer {'x' * 16}{value}", value + "x" * 32):
        shown, _ = split_sensitive_headers([(name, token)])
        assert shown == [] or name.lower() in PUBLIC


@pytest.mark.parametrize(
    ("name", "value"), [("mcp-name", "list_orders"), ("host", "h" * 60), ("origin", "https://auth.example.com"), ("x-tenant", "a b c")]
)
def test_what_entries_match_by_is_shown(name: str, value: str) -> None:
    assert split_sensitive_headers([(name, value)]) == ([(name, value)], [])


@pytest.mark.parametrize(
    "name", ["X-Forwarded-Access-Token", "x-auth-request-user", "X-Goog-IAP-JWT-Assertion", "X-API-Key", "x-amzn-oidc-sign"]
)
def test_a_telling_name_is_enough(name: str) -> None:
    assert split_sensitive_headers([(name, "short")]) == ([], [(name, "short")])


@pytest.mark.parametrize("name", sorted(CREDENTIALS))
def test_credentials_are_neither_shown_nor_said(name: str) -> None:
    assert split_sensitive_headers([(name, "x"), (name.upper(), "x")]) == ([], [])


@given(st.text() | st.text("0123456789", max_size=5))
def test_only_what_is_said_stands_for_something(held: str) -> None:
    value = stand_in(held)
    assert (value is not None) == (held in {"absent", "invalid"} or re.fullmatch(r"[0-9]{1,3}", held) is not None)
    assert value is None or held in {"absent", "invalid"} or is_bearer_token(value)


def test_the_page_withholds_the_same() -> None:
    page = PAGE.read_text()
    assert f"/{TELLING_NAMES}/i;" in page
    assert f"/{TELLING_VALUES}/;" in page
    (public,) = re.findall(r"PUBLIC = new Set\(\[(.+)\]\)", page)
    assert set(re.findall(r'"([^"]+)"', public)) == PUBLIC
