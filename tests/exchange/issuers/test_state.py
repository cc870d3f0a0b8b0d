import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from rpds import HashTrieMap

from exchanger.exchange.issuers.material import problem_with
from exchanger.exchange.issuers.profile_model import Plan
from exchanger.exchange.issuers.resolve import resolve
from exchanger.exchange.issuers.secrets import SecretData, SecretName, SecretProblem
from exchanger.exchange.issuers.state import ROTATION_GRACE_S, IssuerSet, State
from exchanger.exchange.issuers.value_sources import FileSet, Shape, ValueSource
from exchanger.model.issuer import Issuer
from exchanger.model.secret import Secret
from tests.exchange.issuers.fakes import FORBIDDEN, MISSING, OAUTH, data, file, good_plan, inline, jwt, profiles, referring
from tests.formats.jwt.issuer import pem


def secrets(**found: SecretData | SecretProblem) -> "HashTrieMap[SecretName, SecretData | SecretProblem]":
    return HashTrieMap({SecretName("home", name): value for name, value in found.items()})


EMPTY = SecretData("1", HashTrieMap({"id": Secret(""), "secret": Secret("canary")}))


@pytest.mark.parametrize(
    ("found", "field", "reason"),
    [
        (MISSING, "clientIDSecretRef, Secret home/oauth key id", "there is no such Secret"),
        (FORBIDDEN, "clientSecretSecretRef, Secret home/oauth key secret", "needs get on secrets/oauth in home"),
        (data(1, ("secret",)), "clientIDSecretRef, Secret home/oauth key id", "there is no such key"),
        (data(1, ("id",), ("secret",)), "clientSecretSecretRef, Secret home/oauth key secret", "its value is not text in UTF-8"),
        (EMPTY, "clientIDSecretRef, Secret home/oauth key id", "its value is empty"),
    ],
)
def test_why_a_value_is_missing(found: SecretData | SecretProblem, field: str, reason: str) -> None:
    resolved = resolve(good_plan(profiles(inline("one"), referring("two"))), secrets(oauth=found))
    assert not resolved.complete
    assert list(resolved.issuers) == ["one"]
    assert f'issuer profile "two" {field}: {reason}' in [str(issue) for issue in resolved.issues]
    assert len(resolved.issues) == (2 if isinstance(found, SecretProblem) else 1)
    assert "canary" not in repr(resolved)


OTHER = SecretName("home", "other")
ONE = good_plan(profiles(referring("one")))
BOTH = good_plan(profiles(referring("one"), referring("two", "other")))


def test_a_secret_that_is_no_longer_needed_is_forgotten() -> None:
    state = State().with_file(BOTH, 0.0).with_place(OAUTH, data(1), 0.0).with_place(OTHER, data(1), 0.0).with_file(ONE, 1.0)
    assert state.places == {OAUTH}
    assert set(state.latest) == set(state.kept) == {OAUTH}
    assert state.with_place(OTHER, data(1), 1.0) is state


KEY_FILE = FileSet(("/key",))
TOKEN_FILE = FileSet(("/token",))
OTHER_KEYS = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]


def key(number: int) -> SecretData:
    return file(pem(OTHER_KEYS[number]))


def token_of(subject: str, number: int) -> SecretData:
    return file(jwt({"sub": subject, "exp": number}))


def plan_for(address: str, client: str) -> Plan:
    return good_plan(profiles(f"  - {{name: a, {address}, {client}}}\n"))


def current(state: State) -> IssuerSet:
    assert state.current is not None
    return state.current


@pytest.mark.parametrize(
    ("address", "elsewhere"),
    [
        ("tokenEndpoint: 'https://a.example/t'", "tokenEndpoint: 'https://b.example/t'"),
        ("tokenEndpoint: 'https://a.example/t'", "discovery: 'https://a.example'"),
        ("discovery: 'https://a.example'", "discovery: 'https://b.example'"),
    ],
)
@pytest.mark.parametrize(
    ("client", "place", "first", "second"),
    [
        ("clientIDSecretRef: {name: oauth, key: id}, clientSecret: p", OAUTH, data(1), data(2)),
        ("clientID: c, clientSecretSecretRef: {name: oauth, key: secret}", OAUTH, data(1), data(2)),
        ("clientID: c, clientSecretFile: /token", TOKEN_FILE, token_of("me", 1), token_of("another", 1)),
        ("clientID: c, clientAssertion: {keyFile: /key, algorithm: ES256}", KEY_FILE, key(0), key(1)),
        ("clientAssertionFile: {path: /token}", TOKEN_FILE, token_of("me", 1), token_of("another", 1)),
    ],
)
def test_the_credentials_before_count_for_ten_minutes_at_the_same_endpoint_alone(
    client: str, place: ValueSource, first: SecretData, second: SecretData, address: str, elsewhere: str
) -> None:
    state = State().with_file(plan_for(address, client), 0.0).with_place(place, first, 0.0)
    before = current(state)
    rotated = state.with_place(place, second, 100.0)
    issuer_after = current(rotated).issuers["a"]
    assert issuer_after.previous == before.issuers["a"].credentials
    assert issuer_after.credentials.generation == 1
    assert current(rotated).rotated_since(before) == ("a",)
    assert rotated.with_place(place, second, 101.0).current == rotated.current
    assert current(rotated.without_retired(699.0)) is current(rotated)
    assert current(rotated.without_retired(700.0)).issuers["a"].previous is None
    assert current(rotated.with_file(plan_for(elsewhere, client), 101.0)).issuers["a"].previous is None


@pytest.mark.parametrize(("subject", "rotated"), [("me", ()), ("another", ("a",))])
def test_a_newer_assertion_of_the_same_subject_is_no_rotation(subject: str, rotated: tuple[str, ...]) -> None:
    plan = plan_for("tokenEndpoint: 'https://a.example/t'", "clientID: c, clientAssertionFile: {path: /token}")
    state = State().with_file(plan, 0.0).with_place(TOKEN_FILE, token_of("me", 1), 0.0)
    renewed = state.with_place(TOKEN_FILE, token_of(subject, 2), 1.0)
    assert current(renewed).issuers["a"].credentials != current(state).issuers["a"].credentials
    assert current(renewed).rotated_since(current(state)) == rotated


def test_an_actor_s_token_and_authorities_are_no_credentials() -> None:
    fields = "clientID: c, clientSecret: p, actorToken: {file: /token}"
    plan = plan_for("tokenEndpoint: 'https://a.example/t'", fields)
    state = State().with_file(plan, 0.0).with_place(TOKEN_FILE, token_of("me", 1), 0.0)
    renewed = state.with_place(TOKEN_FILE, token_of("another", 1), 1.0)
    assert current(renewed).issuers["a"].grant != current(state).issuers["a"].grant
    assert current(renewed).issuers["a"].credentials == current(state).issuers["a"].credentials
    assert current(renewed).issuers["a"].previous is None


def test_a_value_is_verified_once_whatever_else_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a bundle of authorities, or signing with an RSA key, takes milliseconds, and assertions change all the time."""
    verified: list[Shape] = []

    def judging(shape: Shape, text: str) -> str | None:
        verified.append(shape)
        return problem_with(shape, text)

    monkeypatch.setattr("exchanger.exchange.issuers.resolve.problem_with", judging)
    fields = "clientID: c, clientAssertion: {keyFile: /key, algorithm: ES256}, actorToken: {file: /token}"
    plan = good_plan(profiles(*(f"  - {{name: {name}, tokenEndpoint: 'https://a.example/t', {fields}}}\n" for name in "abc")))
    state = State().with_file(plan, 0.0).with_place(KEY_FILE, key(0), 0.0)
    for number in range(5):
        state = state.with_place(TOKEN_FILE, token_of("me", number), float(number))
        assert not state.issues
    assert sorted(shape.name for shape in verified) == ["P256_KEY", *["TOKEN"] * 5]


CHAIN = good_plan(
    profiles(
        referring("idp"),
        "  - {name: chat, tokenEndpoint: 'https://chat.example/t', clientID: c, clientSecret: s, grantType: jwt-bearer,\n"
        "     assertion: {from: idp, audience: 'https://chat.example'}}\n",
    )
)


def first_of(state: State) -> Issuer:
    assert state.current is not None
    source = state.current.issuers["chat"].assertion
    assert source is not None
    assert source.issuer is not None
    return source.issuer


def test_a_chain_has_the_credentials_of_its_first_issuer_through_rotations() -> None:
    state = State().with_file(CHAIN, 0.0).with_place(OAUTH, data(1), 0.0)
    assert (first_of(state).credentials, first_of(state).previous) == (current(state).issuers["idp"].credentials, None)
    state = state.with_place(OAUTH, data(2), 1.0)
    assert (first_of(state).credentials, first_of(state).previous) == (
        current(state).issuers["idp"].credentials,
        current(state).issuers["idp"].previous,
    )
    assert first_of(state).previous is not None
    state = state.without_retired(1.0 + ROTATION_GRACE_S)
    assert first_of(state).previous is None
    assert current(state).issuers["chat"].previous is None


def test_a_chain_is_inactive_before_its_first_issuer() -> None:
    assert State().with_file(CHAIN, 0.0).current is None
