"""Laws of the active issuers: any history of profiles and Secrets."""

from collections.abc import Sequence
from typing import final

import attrs
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from rpds import HashTrieMap
from trio.testing import MockClock

from exchanger.exchange.issuers.profile_model import Plan, Rejected
from exchanger.exchange.issuers.resolve import Found, Resolved, resolve
from exchanger.exchange.issuers.secrets import SecretData, SecretName, SecretProblem
from exchanger.exchange.issuers.state import State
from exchanger.exchange.issuers.value_sources import FileSet, ValueSource
from exchanger.model.issuer import Issuer
from tests.credentials import client_secret
from tests.examples import examples
from tests.exchange.issuers.fakes import (
    FORBIDDEN,
    MISSING,
    OAUTH,
    World,
    data,
    file,
    good_plan,
    inline,
    jwt,
    plan_of,
    profiles,
    referring,
    world,
)
from tests.formats.jwt.issuer import pem

# Strategies for what happens to a profiles file and to Secrets, and a history of it with the issuer source following.
#
# Ids and secrets of one version of a Secret, or of a file, end in the same number, so that a pair of two versions can be told.


NAMES = ("one", "two", "three")
SECRETS = (SecretName("home", "oauth"), SecretName("home", "other"))
HOSTS = ("a.example", "b.example")


@final
@attrs.frozen
class Write:
    """Somebody writes the file."""

    text: str


@final
@attrs.frozen
class Put:
    """Somebody changes a Secret, or who may read it."""

    secret: SecretName
    found: SecretData | SecretProblem


@final
@attrs.frozen
class Wait:
    """Time passes, in seconds."""

    seconds: float


Event = Write | Put | Wait


def entries(name: str) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds(lambda number, host: inline(name, f"id-{number}", f"canary-{number}", host), st.integers(1, 3), st.sampled_from(HOSTS)),
        st.builds(lambda secret, host: referring(name, secret.name, host), st.sampled_from(SECRETS), st.sampled_from(HOSTS)),
    )


good_files = st.lists(st.sampled_from(NAMES), unique=True, max_size=3).flatmap(
    lambda names: st.tuples(*(entries(name) for name in names)).map(lambda found: profiles(*found))
)
bad_files = st.one_of(
    # Each is nearly a good one: the rest of it must not count either.
    good_files.map(lambda text: text.removesuffix("issuers: []\n") + inline("bad", host="")),
    good_files.map(lambda text: profiles() + inline("bad")),
    good_files.map(lambda text: text.replace("issuers:", "issuer: [canary]\nissuers:")),
    st.just(profiles(inline("bad"), inline("bad"))),
    st.just(profiles(inline("bad", client_secret=""))),
    st.just(profiles('  - {name: bad, tokenEndpoint: "https://a.example/t", clientID: canary, clientIDSecretRef: {name: o, key: k}}\n')),
    st.just(profiles("  - {name: bad, tokenEndpoint: canary, unknown: canary}\n")),
    st.just("canary"),
)
found = st.one_of(
    st.integers(1, 4).map(data),
    st.integers(1, 4).map(data),
    st.sampled_from([MISSING, FORBIDDEN]),
    st.builds(data, st.integers(5, 9), st.sampled_from([("id",), ("secret",), ()])),
    st.builds(data, st.integers(5, 9), st.just(("id",)), st.just(("secret",))),
)
puts = st.builds(Put, st.sampled_from(SECRETS), found)
waits = st.builds(Wait, st.sampled_from([0.0, 3.0, 15.0, 70.0, 610.0]))
events: st.SearchStrategy[Event] = st.one_of(st.builds(Write, good_files), st.builds(Write, bad_files), puts, puts, waits, waits)
histories = st.lists(events, max_size=14)


@final
@attrs.frozen
class Lived:
    """A history that a source has followed to its end; ``shown`` is all that it let be seen on the way."""

    it: World
    shown: str


def live(history: Sequence[Event]) -> Lived:
    """Let an issuer source follow ``history``, and then for as long as anything takes."""
    return trio.run(_live, history, clock=MockClock(autojump_threshold=0))


async def _live(history: Sequence[Event]) -> Lived:
    # Seldom, so that long times are short in a test; and never at the moment of an event, as it is open which of the two comes first.
    it = world("", poll=5.0 + 1 / 7)
    shown: list[str] = []
    async with it.running():
        for event in (*history, Wait(800.0)):
            match event:
                case Write(text):
                    it.file.text = text
                case Put(secret, content):
                    it.secrets.known[secret] = content
                case Wait(seconds):
                    await trio.sleep(seconds)
            state = it.source.state
            shown.append(repr((it.source, state, state.issues, it.log.entries, it.sets, it.polling)))
    return Lived(it, "".join(shown))


# Law: nothing of a version of the file that cannot be used is ever active, and each one is told.
#
# Every bad version here is nearly a good one, most with profiles that would do by themselves.


@given(histories, bad_files)
def test_bad_versions_never_count(history: list[Event], last: str) -> None:
    assert isinstance(plan_of(last), Rejected)
    whole = [*history, Write(last), Wait(30.0)]
    it = live(whole).it
    plans = [plan_of(event.text) for event in whole if isinstance(event, Write)]
    possible = [{(profile.name, profile.token_endpoint) for profile in plan.profiles} for plan in plans if isinstance(plan, Plan)]
    for issuers in it.sets:
        assert {(name, issuer.token_endpoint) for name, issuer in issuers.items()} in possible


@given(st.lists(bad_files, min_size=1, max_size=5))
def test_each_bad_version_of_the_file_is_logged_once(texts: list[str]) -> None:
    it = live([event for text in texts for event in (Write(text), Wait(30.0))]).it
    different = sum(1 for before, text in zip([None, *texts], texts, strict=False) if before != text)
    assert [kind for kind, _ in it.log.events] == ["file_rejected"] * different
    assert not it.started()


# Law: no client secret shows in what observers are told, nor in the representation of anything on the way.
#
# A value in the wrong field counts too: some files here have one.


@given(histories)
def test_secrets_never_show(history: list[Event]) -> None:
    lived = live(history)
    assert "canary" not in lived.shown
    assert "canary" not in repr(lived.it.log.events)


# Law: after any versions of the file and of Secrets, the active issuers are those that a fresh start would come to.
#
# Generations and previous credentials aside, which tell of the way; and where a fresh start would come to none, since what there is now
# cannot be used, what was active stays.


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
def test_the_issuers_in_the_end_are_those_of_a_fresh_start(history: list[Event], last: str) -> None:
    it = live([*history, Write(last)]).it
    expected = fresh(it)
    assert expected is not None
    if expected.complete:
        assert wayless(it.sets[-1]) == dict(expected.issuers)
        assert it.started()
        assert len(it.source.state.issues) == 0
        assert it.source.state.pending is None
    elif it.source.state.pending is not None:
        assert len(it.source.state.issues) > 0


@given(histories)
def test_each_set_is_whole_and_generations_only_grow(history: list[Event]) -> None:
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
def test_what_is_active_stays_where_a_fresh_start_has_nothing(history: list[Event], first: str) -> None:
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
TOKEN_ENDPOINTS = ("tokenEndpoint: 'https://a.example/t'", "tokenEndpoint: 'https://b.example/t'")
ADDRESSES = (*TOKEN_ENDPOINTS, "discovery: 'https://a.example'", "discovery: 'https://b.example'")
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
def test_issuers_with_files_end_as_a_fresh_start(history: "list[Plan | tuple[ValueSource, Found] | float]", last: Plan) -> None:
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
