"""``match.caseInsensitive: true``: the path is compared without regard to ASCII case, in all its interpretations."""

import attrs
import pytest

from exchanger.model.entry import Claim, DenyEntry
from exchanger.model.policy_decision import AMBIGUOUS_PATH, NO_MATCH, Unhealthy
from exchanger.policy.table import CONFLICT
from tests.policy.examples import BLUE, HOST, closed_scope, deny, exchange, snapshot_of

ADMIN = deny("/Admin", case_insensitive=True)


@pytest.mark.parametrize("path", ["/admin", "/ADMIN/x", "/aDmIn?x=1", "/%41dmin", "/x/../ADMIN", "//ADMIN", "/a%44min", "/\uff21dmin"])
def test_any_case_is_the_same_path(path: str) -> None:
    decision = snapshot_of(ADMIN).match(HOST, path, "GET")
    assert decision is ADMIN or decision is AMBIGUOUS_PATH
    assert (decision is ADMIN) == (path.lower().startswith("/admin"))
    assert snapshot_of(deny("/Admin")).match(HOST, "/admin", "GET") is NO_MATCH


@pytest.mark.parametrize(
    ("prefix", "path"), [("/%41dmin", "/aDMIN"), ("/%7eJoe", "/%7EJOE"), ("/%7eJoe", "/~joe"), ("/Stra%C3%9Fe", "/straße")]
)
def test_spellings_of_the_prefix_have_no_case_either(prefix: str, path: str) -> None:
    entry = deny(prefix, case_insensitive=True)
    assert snapshot_of(entry).match(HOST, path, "GET") is entry


def test_only_ascii_letters_have_no_case() -> None:
    policy = snapshot_of(deny("/éK", case_insensitive=True))
    assert isinstance(policy.match(HOST, "/ék", "GET"), DenyEntry)
    assert policy.match(HOST, "/Ék", "GET") is NO_MATCH


SHORT, LONG = exchange("/API", case_insensitive=True), deny("/api/admin", index=1)
EXACT, TWIN = exchange("/api"), deny("/API", source=BLUE, case_insensitive=True)
GETS = exchange("/api", methods=frozenset({"GET"}))
HEADS = deny("/API", source=BLUE, case_insensitive=True, methods=frozenset({"HEAD"}))


@pytest.mark.parametrize(
    ("claims", "answers"),
    [
        ((SHORT, LONG), {"GET /api/admin": LONG, "GET /api/Admin": SHORT}),
        ((EXACT, TWIN), {"GET /api": CONFLICT, "GET /Api": TWIN, "GET /": NO_MATCH}),
        ((GETS, HEADS), {"HEAD /api": HEADS, "GET /api": GETS, "PUT /api": NO_MATCH}),
        ((GETS, attrs.evolve(HEADS, match=attrs.evolve(HEADS.match, methods=frozenset({"GET"})))), {"HEAD /api": CONFLICT}),
    ],
    ids=["the longer prefix wins", "twins conflict", "HEAD itself goes first", "twins of GET conflict for HEAD"],
)
def test_entries_with_and_without_regard_to_case_compete(claims: tuple[Claim, ...], answers: dict[str, object]) -> None:
    policy = snapshot_of(*claims)
    assert {request: policy.match(HOST, request.split()[1], request.split()[0]) for request in answers} == answers


@pytest.mark.parametrize("host", [HOST, None])
def test_a_closed_scope_without_regard_to_case_closes_every_case(host: str | None) -> None:
    policy = snapshot_of(closed_scope("/Admin", host=host, case_insensitive=True), exchange("/", index=1))
    assert isinstance(policy.match(HOST, "/aDMIN", "GET"), Unhealthy)
    assert policy.match(HOST, "/other", "GET") == exchange("/", index=1)
