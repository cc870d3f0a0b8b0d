from collections import Counter
from typing import Any, Final

import orjson
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from exchanger.net.http.message import Request
from exchanger.operations.console.policy_health import MAX_NAMES, RECOUNT_S, Freshness, PolicyHealth
from exchanger.policy.current import CurrentPolicy
from tests.operations.console.test_api import BROKEN, ORDERS, api_of, policy

BOTH: Final = ORDERS + "  - match: {host: broken.example.com, pathPrefix: /}\n    action: exchnge\n"


def health(current: CurrentPolicy, freshness: Freshness | None = None) -> PolicyHealth:
    return PolicyHealth(lambda: current.newest, lambda: current.is_missing, lambda: freshness or Freshness(0.0))


def published(**documents: str) -> CurrentPolicy:
    snapshot = policy(**documents).snapshot
    assert snapshot is not None
    current = CurrentPolicy(required=True)
    current.publish(snapshot)
    return current


@pytest.mark.parametrize(
    ("current", "freshness", "expected"),
    [
        (CurrentPolicy(), Freshness(), {"state": "loading", "age_s": None, "problems": 0}),
        (CurrentPolicy(), Freshness(431.6), {"state": "too_old", "age_s": 432, "problems": 0}),
        (published(), Freshness(0.0), {"state": "missing", "age_s": 0}),
        (published(a__x=BROKEN), Freshness(0.0), {"state": "missing", "problems": 1}),
        (published(a__x=ORDERS), Freshness(0.0), {"state": "active", "problems": 0, "conflicts": 0}),
        (published(a__x=ORDERS, b__x=BROKEN), Freshness(9.0), {"state": "active", "age_s": 9, "problems": 1}),
    ],
)
def test_what_keeps_requests_from_being_decided_is_told(current: CurrentPolicy, freshness: Freshness, expected: dict[str, Any]) -> None:
    shown = health(current, freshness).shown()

    assert {name: shown[name] for name in expected} == expected


def test_a_few_unreadable_namespaces_are_named() -> None:
    names = tuple(f"team-{number}" for number in range(MAX_NAMES + 2))

    assert health(CurrentPolicy(), Freshness(None, names)).shown()["unreadable"] == {"listed": [*names[:MAX_NAMES]], "more": 2}


def test_a_few_unreadable_files_are_named() -> None:
    names = ("POLICY_GRANTS_FILE", *(f"team-{number}.yaml" for number in range(MAX_NAMES)))

    shown = health(published(a__x=ORDERS), Freshness(0.0, objects=names)).shown()

    assert (shown["state"], shown["unreadable_objects"]) == ("active", {"listed": [*names[:MAX_NAMES]], "more": 1})


@given(
    st.dictionaries(
        st.sampled_from(["a__x", "a__y", "b__x", "b__y", "c__x"]),
        st.sampled_from([ORDERS, BROKEN, BOTH, "version: v1\nentries: []\n", "["]),
    )
)
def test_each_unhealthy_document_counts_once_as_in_the_list_of_documents(documents: dict[str, str]) -> None:
    current = published(**documents)
    found = health(current)
    trio.run(found.count_conflicts)
    listed = orjson.loads(trio.run(api_of(current.newest).policy, Request("GET", "/api/policy")).body)
    kinds = Counter(document["health"] for namespace in listed["namespaces"] for document in namespace["documents"])
    shown = found.shown()
    assert (shown["problems"], shown["conflicts"]) == (kinds["problems"], kinds["conflicts"])
    assert shown["problems"] == listed["invalid_documents"]


async def test_conflicts_are_recounted_for_a_new_version_at_a_bounded_rate(
    autojump_clock: trio.testing.MockClock,
) -> None:
    current = published(a__x=ORDERS, b__x=ORDERS, c__x=BROKEN)
    found = health(current)
    await found.count_conflicts()
    assert found.shown()["conflicts"] == 2

    other = published(a__x=ORDERS).newest
    assert other is not None
    current.publish(other)
    await found.count_conflicts()
    assert found.shown()["conflicts"] == 2  # the count before holds: a page under which many versions come would cost too much
    await trio.sleep(RECOUNT_S)
    await found.count_conflicts()
    assert found.shown()["conflicts"] == 0
