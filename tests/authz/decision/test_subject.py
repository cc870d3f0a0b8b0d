"""Where a caller's token is read from."""

from typing import Final

import attrs
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.authz.decision.answer import asked_request
from exchanger.authz.decision.check import begin, finish
from exchanger.authz.decision.outcome import Allow, DecisionReason, Deny, ExchangePending
from exchanger.authz.decision.subject import read_subject, spellings
from exchanger.model.bearer import NoToken
from exchanger.model.issuer import SubjectRules
from exchanger.model.request import HeaderFields
from exchanger.model.secret import Secret
from exchanger.model.token import ExchangedToken
from tests.authz.decision.examples import PRIMARY, RULES, request, snapshot

BOTH: Final = SubjectRules(("x-forwarded-access-token", "authorization"))
BARE: Final = SubjectRules(("x-forwarded-access-token",))
HEADER: Final = "X-Forwarded-Access-Token"


def read(rules: SubjectRules, *headers: tuple[str, str], raw: bool = True) -> str | NoToken:
    found = read_subject(asked_request("GET", "a.example", "/", headers, raw=raw), rules)
    return found if isinstance(found, NoToken) else found.reveal()


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize(
    ("rules", "headers", "expected"),
    [
        (SubjectRules(), [("Authorization", "Bearer a")], "a"),
        (SubjectRules(), [("Authorization", "Bearer a"), (HEADER, "b")], "a"),
        (SubjectRules(), [(HEADER, "b")], NoToken.ABSENT),
        (BARE, [(HEADER, " b\t")], "b"),
        (BARE, [(HEADER, "b"), ("Authorization", "Bearer a")], "b"),
        (BARE, [("Authorization", "Bearer a")], NoToken.ABSENT),
        (BARE, [(HEADER, "Bearer b")], NoToken.INVALID),
        (BARE, [(HEADER, "")], NoToken.INVALID),
        (BOTH, [(HEADER, ""), ("Authorization", "Bearer a")], NoToken.INVALID),
        (BARE, [(HEADER, "b"), (HEADER, "b")], NoToken.INVALID),
        (BARE, [(HEADER, "b,c")], NoToken.INVALID),
        (BARE, [], NoToken.ABSENT),
        (BOTH, [(HEADER, "a"), ("Authorization", "Bearer a")], "a"),
        (BOTH, [(HEADER, "a"), ("Authorization", "Bearer b")], NoToken.DIFFERENT),
        (BOTH, [(HEADER, "a")], "a"),
        (BOTH, [("Authorization", "bearer b")], "b"),
        (BOTH, [(HEADER, "a b"), ("Authorization", "Bearer b")], NoToken.INVALID),
        (BOTH, [(HEADER, "a"), ("Authorization", "Basic b")], NoToken.NOT_BEARER),
        (BOTH, [(HEADER, "a"), ("Authorization", "Bearer b, Bearer b")], NoToken.NOT_ONE),
        (BOTH, [(HEADER, "a"), ("Authorization", "")], "a"),
    ],
)
def test_what_is_there_must_agree_and_nothing_stands_in(
    rules: SubjectRules, headers: list[tuple[str, str]], expected: str | NoToken, raw: bool
) -> None:
    assert read(rules, *headers, raw=raw) == expected


values = st.sampled_from(["a", "b", "", "a b", "a,b", "Bearer a", "Basic a", "bearer b"])
names = st.sampled_from(["authorization", "AUTHORIZATION", "x-token", "X-Token", "x-other"])


@given(
    st.lists(st.tuples(names, values), max_size=4),
    st.permutations(["authorization", "x-token", "x-other"]),
    st.integers(1, 3),
    st.booleans(),
)
def test_a_token_is_what_every_listed_header_says(headers: list[tuple[str, str]], listed: list[str], count: int, raw: bool) -> None:
    rules = SubjectRules(tuple(listed[:count]))
    found = read(rules, *headers, raw=raw)
    event(str(found))
    said = {
        name: [value for other, value in headers if other.lower() == name and (value or name != "authorization")] for name in rules.headers
    }
    if isinstance(found, str):
        expected = {name: [f"bearer {found}" if name == "authorization" else found] for name, sent in said.items() if sent}
        assert {name: [value.lower() for value in sent] for name, sent in said.items() if sent} == expected
        assert expected
    elif found is NoToken.ABSENT:
        assert not any(said.values())
    elif found is NoToken.DIFFERENT:
        assert sum(map(bool, said.values())) > 1


def test_the_order_of_headers_makes_no_difference_to_the_token() -> None:
    request = asked_request("GET", "a.example", "/", [(HEADER, "a"), ("Authorization", "Bearer a")])
    found = {read_subject(request, SubjectRules(order)) for order in [BOTH.headers, BOTH.headers[::-1]]}
    assert found == {Secret("a")}


# Names that some servers take for those of the headers.

SUBJECT_HEADERS: Final = st.lists(
    st.sampled_from(["authorization", "x-token", "x_token", "x-forwarded-access-token", "x-a-b-c-d-e", "token"]), min_size=1, unique=True
)


def as_wsgi(name: str) -> str:
    """Return the name by which WSGI and CGI hand a header to a program."""
    return "HTTP_" + name.upper().replace("-", "_")


@given(SUBJECT_HEADERS, st.data(), st.sampled_from(["GET", "OPTIONS"]), st.booleans())
def test_every_spelling_of_a_subject_header_is_removed_beside_the_exchanged_token(
    listed: list[str], data: st.DataObject, method: str, raw: bool
) -> None:
    chosen = data.draw(st.sampled_from(listed))
    name = data.draw(st.tuples(*(st.sampled_from("-_" if one in "-_" else (one, one.upper())) for one in chosen)).map("".join))
    rules = SubjectRules(tuple(listed))
    issuer = attrs.evolve(PRIMARY, subject=rules)
    asked = attrs.evolve(
        request("/orders", "Bearer a", method, origin="https://app.example.com", access_control_request_method="GET"),
        fields=HeaderFields(((name, "a"),) if chosen != "authorization" else (), raw),
    )
    decision_rules = attrs.evolve(RULES, issuers=RULES.issuers.insert("primary", issuer))
    assert decision_rules.needs_headers is bool(rules.removed)
    outcome = begin(asked, snapshot(), decision_rules)
    sibling = as_wsgi(name) in set(map(as_wsgi, rules.removed)) and name.lower() not in rules.removed
    event(f"sibling: {sibling}")
    if sibling:
        assert isinstance(outcome, Deny)
        assert (outcome.status, outcome.reason, outcome.issuer) == (400, DecisionReason.DENY_AMBIGUOUS_REQUEST, "primary")
        assert "ambiguous or malformed header" in outcome.body
    if isinstance(outcome, ExchangePending):
        allowed = finish(outcome, ExchangedToken(Secret("new")))
        assert isinstance(allowed, Allow)
        assert set(rules.removed) <= set(allowed.removed)
        # What the gateway did not send may have come all the same.
        assert {header.replace("-", "_") for header in rules.removed} <= set(allowed.removed)
        assert {as_wsgi(header) for header in allowed.removed} == {as_wsgi(header) for header in rules.removed}
        if name.count("-") + name.count("_") <= 4 and chosen != "authorization":
            assert name.lower() in allowed.removed


def test_the_spellings_of_long_names_are_bounded() -> None:
    long = "-".join("x" * 60)
    assert spellings((long,)) == (long, long.replace("-", "_"))
    assert [len(spellings(("-".join("x" * parts),))) for parts in range(1, 7)] == [1, 2, 4, 8, 16, 2]
    assert spellings(()) == ()
