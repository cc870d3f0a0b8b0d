"""Law: after any versions of the file and of Secrets, the issuers in force are those that a fresh start would come to.

Generations and previous credentials aside, which tell of the way; and where a fresh start would come to none, since what there is now
cannot be used, what was in force stays.
"""

import attrs
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from rpds import HashTrieMap

from exchanger.issuers.plan import Plan
from exchanger.issuers.resolve import Found, Resolved, resolve
from exchanger.issuers.state import State
from exchanger.issuers.value_sources import FileSet, ValueSource
from exchanger.values.issuer import Issuer
from tests.credentials import client_secret
from tests.examples import examples
from tests.issuers.fakes import MISSING, OAUTH, World, data, file, good_plan, jwt, plan_of, profiles
from tests.jwt.issuer import pem
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
def test_every_set_on_the_way_is_whole_generations_only_grow_and_previous_credentials_end(history: list[Event]) -> None:
    it = live(history).it
    newest: dict[str, Issuer] = {}
    for issuers in it.sets:
        for name, issuer in issuers.items():
            assert issuer.name == name
            for pair in (issuer.credentials, issuer.previous):
                assert pair is None or pair.client_id.rpartition("-")[2] == client_secret(pair).reveal().rpartition("-")[2]
            before = newest.get(name)
            if before is not None:
                assert issuer.credentials.generation >= before.credentials.generation
                unchanged = issuer.credentials.generation == before.credentials.generation
                assert unchanged == (issuer.credentials == before.credentials)
            assert issuer.previous is None or issuer.previous.generation < issuer.credentials.generation
        newest.update(issuers.items())
    assert it.started() == bool(it.sets)
    assert not it.sets or all(issuer.previous is None for issuer in it.sets[-1].values())


@settings(max_examples=examples(50))  # each of them lives twice
@given(histories, good_files)
def test_what_is_in_force_stays_where_a_fresh_start_has_nothing(history: list[Event], first: str) -> None:
    before = live([*history, Write(first), Wait(100.0)]).it
    after = live([*history, Write(first), Wait(100.0), Write("bad")]).it
    assert [wayless(issuers) for issuers in before.sets] == [wayless(issuers) for issuers in after.sets]
    assert before.started() == after.started()


SIGNING = "clientID: c, clientAssertion: {keyFile: /key, algorithm: ES256}"
LINES = (
    "clientAssertionFile: {path: /token}",
    SIGNING,
    f"{SIGNING}, actorToken: {{file: /token}}",
    "clientID: c, clientSecret: canary, caFile: /key",
    "clientIDSecretRef: {name: oauth, key: id}, clientAssertion: {keyFile: /key, algorithm: ES256}",
)
ADDRESSES = ("tokenEndpoint: 'https://a.example/t'", "tokenEndpoint: 'https://b.example/t'", "discovery: 'https://a.example'")
CONTENTS = [file(jwt({"sub": subject, "exp": number})) for subject in "ab" for number in range(2)]
CONTENTS += [file(pem(ec.generate_private_key(ec.SECP256R1()))) for _ in range(2)]
PLACES = (FileSet(("/key",)), FileSet(("/token",)), OAUTH)
plans = st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(ADDRESSES)), max_size=2).map(
    lambda written: good_plan(profiles(*(f"  - {{name: p{number}, {', '.join(pair)}}}\n" for number, pair in enumerate(written))))
)
placed = st.tuples(st.sampled_from(PLACES[:2]), st.sampled_from([*CONTENTS, *CONTENTS, file(""), file("canary"), MISSING]))
placed |= st.tuples(st.just(OAUTH), st.sampled_from([data(1), data(2), MISSING]))
moves = st.lists(plans | placed | st.sampled_from([0.0, 5.0, 700.0]), max_size=25)


@given(moves, plans)
def test_the_end_of_a_history_with_files(history: "list[Plan | tuple[ValueSource, Found] | float]", last: Plan) -> None:
    """Places are read when they are needed, and again whenever they change, as the source does it."""
    state, now, there = State(), 0.0, dict[ValueSource, Found]()
    for move in (*history, last):
        before = state
        match move:
            case Plan():
                state = state.with_file(move, now)
                for place in sorted(state.places - before.places, key=str):
                    state = state.with_place(place, there.get(place, MISSING), now)
            case (place, found):
                there[place] = found
                state = state.with_place(place, found, now)
            case float():
                now += move
        state = state.without_retired(now)
        assert "canary" not in repr(state)
        if before.current is not None:
            assert state.current is not None
            for name, issuer in state.current.issuers.items():
                old = before.current.issuers.get(name)
                moved = old is None or old.address != issuer.address
                assert issuer.previous is None or not moved
                same = old is not None and (old.credentials.client_id, old.credentials.proof) == (
                    issuer.credentials.client_id,
                    issuer.credentials.proof,
                )
                assert moved or (old is not None and (old.credentials.generation == issuer.credentials.generation) == same)
                assert moved or same or (old is not None and issuer.previous == old.credentials)
    expected = resolve(last, HashTrieMap({place: there.get(place, MISSING) for place in last.places}))
    if expected.complete:
        assert state.current is not None
        assert wayless(state.current.issuers) == dict(expected.issuers)
        assert (state.plan, state.pending, len(state.issues)) == (last, None, 0)
