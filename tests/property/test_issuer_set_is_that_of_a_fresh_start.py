"""Law: after any versions of the file and of Secrets, the issuers in force are those that a fresh start would come to.

Generations and previous credentials aside, which tell of the way; and where a fresh start would come to none, since what there is now
cannot be used, what was in force stays.
"""

import attrs
from hypothesis import given, settings
from rpds import HashTrieMap

from exchanger.issuers.plan import Plan
from exchanger.issuers.resolve import Resolved, resolve
from exchanger.values.issuer import Issuer
from tests.credentials import client_secret
from tests.examples import examples
from tests.issuers.fakes import MISSING, World, plan_of
from tests.property.strategies_issuers import SECRETS, Event, Wait, Write, good_files, histories, live


def wayless(issuers: "HashTrieMap[str, Issuer]") -> dict[str, Issuer]:
    return {
        name: attrs.evolve(issuer, credentials=attrs.evolve(issuer.credentials, generation=0), previous=None)
        for name, issuer in issuers.items()
    }


def fresh(it: World) -> Resolved | None:
    plan = plan_of(it.file.text)
    known = HashTrieMap({secret: it.secrets.known.get(secret, MISSING) for secret in SECRETS})
    return resolve(plan, known) if isinstance(plan, Plan) else None


@given(histories, good_files)
def test_the_end_of_a_history(history: list[Event], last: str) -> None:
    it = live([*history, Write(last)]).it
    expected = fresh(it)
    assert expected is not None
    if expected.complete:
        assert wayless(it.sets[-1]) == dict(expected.issuers)
        assert it.started()
        assert len(it.source._state.issues) == 0
        assert it.source._state.pending is None
    elif it.source._state.pending is not None:
        assert len(it.source._state.issues) > 0


@given(histories)
def test_every_set_on_the_way_is_whole(history: list[Event]) -> None:
    it = live(history).it
    for issuers in it.sets:
        for name, issuer in issuers.items():
            assert issuer.name == name
            for pair in (issuer.credentials, issuer.previous):
                assert pair is None or pair.client_id.rpartition("-")[2] == client_secret(pair).reveal().rpartition("-")[2]
    assert it.started() == bool(it.sets)


@settings(max_examples=examples(50))  # each of them lives twice
@given(histories, good_files)
def test_what_is_in_force_stays_where_a_fresh_start_has_nothing(history: list[Event], first: str) -> None:
    before = live([*history, Write(first), Wait(100.0)]).it
    after = live([*history, Write(first), Wait(100.0), Write("bad")]).it
    assert [wayless(issuers) for issuers in before.sets] == [wayless(issuers) for issuers in after.sets]
    assert before.started() == after.started()


@given(histories)
def test_generations_only_grow_and_previous_credentials_end(history: list[Event]) -> None:
    it = live(history).it
    newest: dict[str, Issuer] = {}
    for issuers in it.sets:
        for name, issuer in issuers.items():
            before = newest.get(name)
            if before is not None:
                assert issuer.credentials.generation >= before.credentials.generation
                unchanged = issuer.credentials.generation == before.credentials.generation
                assert unchanged == (issuer.credentials == before.credentials)
            assert issuer.previous is None or issuer.previous.generation < issuer.credentials.generation
        newest.update(issuers.items())
    assert not it.sets or all(issuer.previous is None for issuer in it.sets[-1].values())
