"""What the model says between two watches of the API server: more than any version, and never less than all of them refuse."""

import json
from collections.abc import Callable, Iterable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.model.entry import DenyEntry, ExchangeEntry
from tests.property.policy_model import CLOSED, DISPUTED, UNMATCHED, Answer
from tests.simulation.cluster import Cluster
from tests.simulation.grammar import MOVING_HOST, PATHS, Request
from tests.simulation.kernel import Kernel, Trace
from tests.simulation.plan import Plan
from tests.simulation.policy import Authors, Version

# Seconds between two changes.
APART: Final = 0.1
HOST: Final = "team-0.example.com"


def written(seed: int, *changes: Callable[[Authors], None]) -> Authors:
    """Return authors who have made these changes, one after the other, during an outage."""
    kernel = Kernel(seed, Trace())
    authors = Authors(kernel, Plan(seed, namespaces=3, moves=1.0), Cluster(kernel, frozenset()))
    authors.begin()
    began = kernel.now
    for change in changes:
        kernel.now += APART
        change(authors)
    authors.outages.append((began, kernel.now, "down"))
    return authors


def between(authors: Authors, host: str, path: str) -> set[Answer]:
    now = authors.kernel.now
    return set(authors.answers_between(Request(host, path), now, now))


@given(st.integers(0, 1 << 32), st.lists(st.sampled_from([Authors.move, Authors.edit]), max_size=25))
def test_what_a_denial_refuses_never_passes_while_it_moves(seed: int, changes: list[Callable[[Authors], None]]) -> None:
    authors = written(seed, *changes)
    assert all(said in (CLOSED, DISPUTED) or isinstance(said, DenyEntry) for path in PATHS for said in between(authors, MOVING_HOST, path))


def text(scope: str) -> str:
    """Return a policy with one exchange."""
    target = {"issuerRef": "issuer-0", "scope": scope, "audiences": ["x"]}
    return json.dumps(
        {"version": "v1", "entries": [{"match": {"host": HOST, "pathPrefix": "/a"}, "action": "exchange", "exchange": target}]}
    )


def scopes(answers: Iterable[Answer]) -> set[str]:
    return {said.target.scope if isinstance(said, ExchangeEntry) else str(said) for said in answers}


@pytest.mark.parametrize(("is_down", "also"), [(True, {"old"}), (False, set())])
def test_a_namespace_back_during_an_outage_may_have_its_earlier_texts(is_down: bool, also: set[str]) -> None:
    authors = written(1)
    now, key, here = authors.kernel.now, ("team-0", "one"), frozenset({"team-0"})
    changes = [(text("old"), frozenset[str]()), (text("new"), frozenset()), (text("new"), here)]
    authors.versions = [Version(now + number, {key: said}, joined) for number, (said, joined) in enumerate(changes)]
    authors.outages = [(now, now + 9.0, "down")] if is_down else []
    asked = Request(HOST, "/a"), now + 2.5, now + 2.5
    assert scopes(authors.answers(*asked)) == {UNMATCHED, "new"}
    assert scopes(authors.answers_between(*asked)) == {UNMATCHED, "new", *also}
