"""A ``!`` in a path that is not raw may stand for a byte that is no UTF-8: Envoy's ext_authz masks each of them so."""

import pytest

from exchanger.policy.verdict import AMBIGUOUS_PATH, NO_MATCH
from tests.policy.examples import HOST, deny, exchange, snapshot_of

ORDERS, ADMIN = exchange("/orders"), deny("/admin", index=1)
POLICY = snapshot_of(ORDERS, ADMIN)


@pytest.mark.parametrize("path", ["/adm!in", "/!admin", "/!!admin", "/.!./admin", "/x/.!./admin/y", "/!/admin", "/ad!%6din", "/adm!in?x=1"])
def test_masked_bytes_that_a_server_drops_hide_nothing(path: str) -> None:
    assert POLICY.match(HOST, path, "GET") is AMBIGUOUS_PATH


@pytest.mark.parametrize("path", ["/orders/hi!", "/orders!", "/orders/!/x?y=!", "/orders?a=!"])
def test_a_mark_that_makes_no_difference_stays_what_it_is(path: str) -> None:
    assert POLICY.match(HOST, path, "GET") is ORDERS
    assert POLICY.match(HOST, path, "GET", raw=True) is ORDERS


def test_a_raw_path_has_no_masks() -> None:
    assert POLICY.match(HOST, "/adm!in", "GET", raw=True) is NO_MATCH
    assert POLICY.match(HOST, "/x?/adm!in", "GET") is NO_MATCH
    assert POLICY.match(HOST, "/hello!", "GET") is NO_MATCH
