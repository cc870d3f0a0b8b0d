"""``match.caseInsensitive: true``: the path is compared without regard to ASCII case, in all its readings."""

import pytest

from exchanger.policy.lookup import CONFLICT
from exchanger.values.entry import DenyEntry
from exchanger.values.verdict import AMBIGUOUS_PATH, NO_MATCH, Unhealthy
from tests.policy.examples import BLUE, HOST, deny, exchange, region, snapshot_of

ADMIN = deny("/Admin", case_insensitive=True)


@pytest.mark.parametrize("path", ["/admin", "/ADMIN/x", "/aDmIn?x=1", "/%41dmin", "/x/../ADMIN", "//ADMIN", "/a%44min", "/\uff21dmin"])
def test_any_case_is_the_same_path(path: str) -> None:
    verdict = snapshot_of(ADMIN).match(HOST, path, "GET")
    assert verdict is ADMIN or verdict is AMBIGUOUS_PATH
    assert (verdict is ADMIN) == (path.lower().startswith("/admin"))
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


def test_the_longest_prefix_wins_among_both_kinds() -> None:
    short, long = exchange("/API", case_insensitive=True), deny("/api/admin", index=1)
    policy = snapshot_of(short, long)
    assert policy.match(HOST, "/api/admin", "GET") is long
    assert policy.match(HOST, "/api/Admin", "GET") is short
    assert snapshot_of(exchange("/api"), deny("/API/ADMIN", index=1, case_insensitive=True)).match(HOST, "/api/admin", "GET") == deny(
        "/API/ADMIN", index=1, case_insensitive=True
    )


def test_twins_tie_where_both_match() -> None:
    policy = snapshot_of(exchange("/api"), deny("/API", source=BLUE, case_insensitive=True))
    assert policy.match(HOST, "/api", "GET") is CONFLICT
    assert policy.match(HOST, "/Api", "GET") == deny("/API", source=BLUE, case_insensitive=True)
    assert (
        snapshot_of(exchange("/API", case_insensitive=True), deny("/api", source=BLUE, case_insensitive=True)).match(HOST, "/", "GET")
        is NO_MATCH
    )


def test_of_twins_the_one_that_covers_head_itself_goes_first() -> None:
    get, every = exchange("/api", methods=frozenset({"GET"})), deny("/API", source=BLUE, case_insensitive=True, methods=frozenset({"HEAD"}))
    policy = snapshot_of(get, every)
    assert policy.match(HOST, "/api", "HEAD") is every
    assert policy.match(HOST, "/api", "GET") is get
    assert policy.match(HOST, "/api", "PUT") is NO_MATCH
    both = snapshot_of(get, deny("/API", source=BLUE, case_insensitive=True, methods=frozenset({"GET"})))
    assert both.match(HOST, "/api", "HEAD") is CONFLICT


@pytest.mark.parametrize("host", [HOST, None])
def test_a_region_without_regard_to_case_closes_every_case(host: str | None) -> None:
    policy = snapshot_of(region("/Admin", host=host, case_insensitive=True), exchange("/", index=1))
    assert isinstance(policy.match(HOST, "/aDMIN", "GET"), Unhealthy)
    assert policy.match(HOST, "/other", "GET") == exchange("/", index=1)
