"""The verifier: who passes, what a refusal says, when keys are fetched, and for how long a result counts."""

import math
from collections.abc import Callable
from typing import Final

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.authz.decision.outcome import Deny
from exchanger.exchange import verify as verify_module
from exchanger.exchange.jwks_cache import TOLD_AT_ONCE, UNKNOWN_KEY_S
from exchanger.exchange.oauth.documents import DOCUMENT_TIMEOUT
from exchanger.exchange.oauth.metadata import REFRESH_S
from exchanger.formats.jwt.claims import LEEWAY
from exchanger.formats.jwt.verify import verify
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import ActorToken, ErrorStyle, Grant, Issuer, SubjectRules
from exchanger.model.proxy import Proxy
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, ExchangeFailure, TokenOutcome, TokenRequest, VerificationResult
from tests.examples import examples
from tests.exchange.examples import RULES, Gated, Waiting, answer_to, asking, gated, guarded, passed, published, publishing
from tests.exchange.oauth.fakes import ISSUED, exchange, response
from tests.exchange.oauth.published import OPENID, Site, Steady, document
from tests.formats.jwt.issuer import CLAIMS, ISSUER, KEYS, NOW, P256, STRANGER, claims, jwk, raw, token

GOOD: Final = token()
BY_PUBLISHED: Final = SubjectRules(issuers=("http://login.example.com",), audiences=("gateway",))
OTHER: Final = SubjectRules(issuers=("http://other.example.com",), audiences=("gateway",))
ACTOR: Final = Grant(actor=ActorToken(Secret("actor"), "urn:x:y", "me"))


def refused(outcome: TokenOutcome) -> str:
    """Return why, after a look at what callers get, whatever their profile says of errors."""
    assert isinstance(outcome, ExchangeFailure)
    assert (outcome.diagnostic, outcome.kind, outcome.status) == (Diagnostic.SUBJECT_REJECTED, ErrorKind.SUBJECT_REJECTED, 401)
    assert outcome.subject is not None
    assert outcome.subject.refusal == outcome.detail
    for style in ErrorStyle:
        told = told_with(style, outcome)
        assert told.status == 401
        assert '"error":"invalid_token"' in told.body
        ((name, challenge),) = told.headers
        assert name == "WWW-Authenticate"
        assert challenge.startswith("Bearer ")
        assert 'error="invalid_token"' in challenge
    return outcome.detail


def told_with(style: ErrorStyle, outcome: TokenOutcome) -> Deny:
    told = answer_to(asking("subject", gated(errors=style)), outcome, "realm")
    assert isinstance(told, Deny)
    return told


def no_keys(outcome: TokenOutcome) -> bool:
    """Whether the keys could not be had, which is 503 and when to try again."""
    if not isinstance(outcome, ExchangeFailure) or outcome.diagnostic is not Diagnostic.KEYS_UNKNOWN or outcome.too_late:
        return False
    told = [told_with(style, outcome) for style in ErrorStyle]
    assert [(one.status, one.headers) for one in told] == [(503, (("Retry-After", "1"),))] * 2
    return True


async def test_a_good_token_passes(autojump_clock: MockClock) -> None:
    async with guarded(publishing("p256"), gated()) as it:
        assert it.learned.entries == [{"event": "issuers.keys_known", "log_level": "info", "issuer": ISSUER, "keys": 1}]
        outcome = await exchange(it.verifier, asking(GOOD))
        assert outcome == ISSUED
        assert passed(outcome)
        assert [request.subject_token.reveal() for request in it.behind.begun] == [GOOD]
        assert all("Authorization" not in head and "secret" not in head for head in it.site.heads)


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        ("opaque", "is not a signed JWT"),
        ("a" * 70_000, "is too long"),
        (raw({"alg": "none"}), "is signed by an algorithm that is not accepted"),
        (token(iss="https://canary.example.com"), "is from an issuer that is not accepted"),
        (GOOD[:-4] + "AAAA", "has a signature that none of its issuer's keys verifies"),
        (raw({"alg": "RS256", "kid": "rsa"}, CLAIMS, STRANGER), "has a signature that none of its issuer's keys verifies"),
        (token(aud="canary"), "is for another audience"),
        (token(exp=NOW - LEEWAY), "has expired"),
        (token(cnf={"jkt": "canary"}), "is bound to its sender"),
        (token(may_act={"sub": "canary"}), "restricts who may act"),
    ],
)
async def test_each_kind_of_refusal(subject: str, why: str, autojump_clock: MockClock) -> None:
    async with guarded(publishing("p256", "rsa"), gated()) as it:
        outcome = await exchange(it.verifier, asking(subject))
        assert why in refused(outcome)
        assert it.behind.begun == []
        assert it.fetches == 1
        assert "canary" not in repr(outcome) + str(outcome)


async def test_who_may_act_counts_where_there_is_an_actor(autojump_clock: MockClock) -> None:
    subject = token(may_act={"sub": "me"})
    with_actor = gated(grant=ACTOR)
    async with guarded(publishing("p256"), with_actor) as it:
        assert passed(await exchange(it.verifier, asking(subject, with_actor)))
        it.use(gated())
        assert "restricts who may act" in refused(await exchange(it.verifier, asking(subject)))


async def test_the_issuer_s_own_metadata_say_where_its_keys_are(autojump_clock: MockClock) -> None:
    site = publishing("p256")
    issuer = gated(BY_PUBLISHED)
    subject = token(iss="http://login.example.com")
    async with guarded(site, issuer) as it:
        ((event, url, _),) = it.learned.taken()
        assert (event, url) == ("keys_failed", "http://login.example.com")
        assert no_keys(await exchange(it.verifier, asking(subject, issuer)))
        site.documents[OPENID] = document({"issuer": "http://login.example.com"})
        await trio.sleep(0.5)
        assert it.learned.taken() == [("keys_failed", "http://login.example.com", "the metadata names no jwks_uri")]
        site.documents[OPENID] = document({"issuer": "http://other.example.com", "jwks_uri": "http://login.example.com/keys"})
        await trio.sleep(5)
        assert it.fetches == 0
        site.documents[OPENID] = document({"issuer": "http://login.example.com", "jwks_uri": "http://login.example.com/keys"})
        await trio.sleep(60)
        assert it.learned.taken()[-1] == ("keys_known", "http://login.example.com", "1")
        assert passed(await exchange(it.verifier, asking(subject, issuer)))


@pytest.mark.parametrize(
    "answer",
    [
        response(b"", 500),
        response(b'{"keys": "canary"}'),
        document({"keys": [{"kty": "oct", "k": "canary"}]}),
    ],
)
async def test_keys_that_cannot_be_had(answer: bytes, autojump_clock: MockClock) -> None:
    site = Site({"/keys": answer})
    async with guarded(site, gated()) as it:
        for _ in range(20):
            assert no_keys(await exchange(it.verifier, asking(GOOD)))
        assert it.fetches == 1
        ((event, url, why),) = it.learned.taken()
        assert (event, url) == ("keys_failed", ISSUER)
        assert "canary" not in why
        site.documents["/keys"] = published("p256")
        await trio.sleep(0.5)
        assert passed(await exchange(it.verifier, asking(GOOD)))


async def test_the_log_names_an_issuer_within_bounds(autojump_clock: MockClock) -> None:
    async with guarded(Site(), gated(attrs.evolve(RULES, issuers=(ISSUER + "\u202e" * 1000,)))) as it:
        (line,) = it.learned.entries
        assert (line["event"], line["log_level"]) == ("issuers.keys_failed", "error")
        assert line["issuer"].isprintable()
        assert len(line["issuer"]) < 300


async def test_keys_stay_known_while_they_cannot_be_fetched(autojump_clock: MockClock) -> None:
    site = publishing("p256")
    async with guarded(site, gated()) as it:
        assert passed(await exchange(it.verifier, asking(GOOD)))
        for answer in (response(b"", 500), response(b'{"keys": []}')):
            site.documents["/keys"] = answer
            await trio.sleep(REFRESH_S + 60)
            it.skew -= REFRESH_S + 60
            assert passed(await exchange(it.verifier, asking(token(jti=repr(answer)))))
        assert [event for event, *_ in it.learned.taken()] == ["keys_known", "keys_failed", "keys_failed"]


async def test_an_algorithm_taken_from_a_key_verifies_no_more(autojump_clock: MockClock) -> None:
    """The key is the same, so only its algorithms tell that the set is another one."""
    site, subject = publishing("rsa"), token("RS256")
    async with guarded(site, gated()) as it:
        assert passed(await exchange(it.verifier, asking(subject)))
        site.documents["/keys"] = document({"keys": [jwk(KEYS["rsa"], kid="rsa", alg="PS256")]})
        await trio.sleep(REFRESH_S + 60)
        it.skew -= REFRESH_S + 60
        assert "does not publish" in refused(await exchange(it.verifier, asking(subject)))


async def test_waiters_are_served_by_the_first_keys(autojump_clock: MockClock) -> None:
    async with guarded(publishing("p256")) as it:
        it.use(gated())
        outcomes: list[TokenOutcome] = []
        for subject in (GOOD, token(aud="other"), token("ES256", {"kid": "new"})):
            assert not isinstance(it.verifier.begin(asking(subject), math.inf, outcomes.append), ExchangeFailure)
        await wait_all_tasks_blocked()
        assert [passed(outcome) for outcome in outcomes] == [True, False, False]
        assert refused(outcomes[1]) == "the token is for another audience"
        assert refused(outcomes[2]) == "the token is signed by a key that its issuer does not publish"
        assert it.fetches == 1


async def test_a_new_key_is_not_there_while_it_cannot_be_fetched(autojump_clock: MockClock) -> None:
    """The token may well be good: its caller is to come again, and not to throw it away."""
    site = publishing("p256")
    async with guarded(site, gated()) as it:
        site.documents["/keys"] = response(b"", 503)
        await trio.sleep(UNKNOWN_KEY_S)
        assert no_keys(await exchange(it.verifier, asking(token("EdDSA"))))
        assert passed(await exchange(it.verifier, asking(GOOD)))
        assert "audience" in refused(await exchange(it.verifier, asking(token(aud="other"))))
        site.documents["/keys"] = published("p256", "ed")
        await trio.sleep(1)
        assert passed(await exchange(it.verifier, asking(token("EdDSA"))))


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.tuples(st.text(max_size=8), st.sampled_from([0.0, 0.5, 7.0, 31.0, 61.0])), max_size=40), st.booleans())
def test_strangers_cannot_have_keys_fetched_more_than_once_a_minute(tokens: list[tuple[str, float]], at_once: bool) -> None:
    """With however many names of keys, one after the other or at the same time."""

    async def main() -> None:
        async with guarded(publishing("p256"), gated()) as it, trio.open_nursery() as callers:
            began, outcomes = trio.current_time(), list[TokenOutcome]()

            async def one(kid: str) -> None:
                outcomes.append(await exchange(it.verifier, asking(raw({"alg": "ES256", "kid": f"x{kid}"}))))

            for kid, pause in tokens:
                if at_once:
                    callers.start_soon(one, kid)
                else:
                    await one(kid)
                await trio.sleep(pause)
            await wait_all_tasks_blocked()
            assert it.fetches - 1 <= 1 + (trio.current_time() - began) / UNKNOWN_KEY_S  # beside the first one
            assert [refused(outcome) for outcome in outcomes] == ["the token is signed by a key that its issuer does not publish"] * len(
                tokens
            )

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    ("header", "after"),
    [
        ((), REFRESH_S),
        (("Cache-Control: max-age=0",), 300.0),
        (("Cache-Control: max-age=900",), 900.0),
        (("Cache-Control: max-age=99999",), REFRESH_S),
    ],
)
@pytest.mark.parametrize("chance", [0.0, 1.0])
async def test_keys_are_fetched_again_as_their_issuer_says(
    header: tuple[str, ...], after: float, chance: float, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Steady, "random", lambda _: chance)
    after *= 1.0 - 0.1 * chance  # so that replicas do not all ask at once
    site = Site({"/keys": published("p256", headers=header)})
    async with guarded(site, gated()) as it:
        await trio.sleep(after - 1)
        assert it.fetches == 1
        await trio.sleep(2)
        assert it.fetches == 2
        assert it.learned.taken() == [("keys_known", ISSUER, "1")]


async def test_the_deadline_is_504_while_a_key_is_waited_for(autojump_clock: MockClock) -> None:
    site = Site({"/keys": b""})
    async with guarded(site, gated()) as it:
        began = trio.current_time()
        outcome = await exchange(it.verifier, asking(GOOD), began + 0.5)
        assert trio.current_time() == pytest.approx(began + 0.5)
        assert isinstance(outcome, ExchangeFailure)
        assert (outcome.diagnostic, outcome.too_late) == (Diagnostic.KEYS_UNKNOWN, True)
        assert [told_with(style, outcome).status for style in ErrorStyle] == [504, 504]
        assert no_keys(await exchange(it.verifier, asking(GOOD)))  # the fetch itself ends
        assert trio.current_time() == pytest.approx(began + 2 * DOCUMENT_TIMEOUT, abs=DOCUMENT_TIMEOUT)


async def test_who_leaves_while_an_exchange_waits_behind_the_verifier_leaves_there(autojump_clock: MockClock) -> None:
    waiting = Waiting(lambda _: None)

    class Later:
        def begin(self, _request: TokenRequest, _deadline: float, _done: Callable[[TokenOutcome], None], /) -> Waiting:
            return waiting

    async with guarded(publishing("p256"), gated(), behind=Later()) as it:
        it.verifier.begin(asking(GOOD), math.inf, waiting.done).leave()  # type: ignore[union-attr]  # it is a ticket
        assert waiting.left


async def test_what_fails_behind_the_verifier_says_that_the_token_passed(autojump_clock: MockClock) -> None:
    site = publishing("p256")
    site.token = lambda _: response(b'{"error": "invalid_grant"}', 400)
    async with guarded(site, gated()) as it:
        it.verifier.behind = it.it.client.verify.behind
        outcome = await exchange(it.verifier, asking(GOOD))
        assert isinstance(outcome, ExchangeFailure)
        assert (outcome.oauth_error, outcome.subject) == ("invalid_grant", VerificationResult())


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how often tokens are verified."""
    count = [0]

    def counted(*arguments: object) -> object:
        count[0] += 1
        return verify(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(verify_module, "verify", counted)
    return count


LASTING: Final = token(exp=NOW + 10)
STRICT: Final = gated(attrs.evolve(RULES, audiences=("other",)))
ELSEWHERE: Final = gated(attrs.evolve(RULES, issuers=("https://other.example.com",)))
OTHER_NAME: Final = attrs.evolve(STRICT, name="other")


@pytest.mark.parametrize(
    ("after", "used", "asked", "why"),
    [
        (10 + LEEWAY, (gated(),), gated(), "has expired"),
        (0.5, (STRICT,), STRICT, "is for another audience"),
        (0.5, (ELSEWHERE,), ELSEWHERE, "is from an issuer that is not accepted"),
        (0.5, (gated(), OTHER_NAME), OTHER_NAME, "is for another audience"),
        (0.5, (gated(), gated(OTHER, "foreign")), gated(OTHER, "foreign"), "is from an issuer that is not accepted"),
    ],
    ids=["its token", "its audiences", "its issuers", "its profile, which has other audiences", "its profile, which has other issuers"],
)
async def test_a_cached_verification_ends_with_its_token_and_its_rules(
    after: float, used: tuple[Issuer, ...], asked: Issuer, why: str, autojump_clock: MockClock
) -> None:
    async with guarded(publishing("p256"), gated()) as it:
        assert passed(await exchange(it.verifier, asking(LASTING)))
        await trio.sleep(after - 0.5)
        assert passed(await exchange(it.verifier, asking(LASTING)))
        await trio.sleep(0.5)
        it.use(*used)
        await wait_all_tasks_blocked()
        assert why in refused(await exchange(it.verifier, asking(LASTING, asked)))
        assert len(it.behind.begun) == 2
        assert len(it.verifier.cached) <= 1  # memory: strangers could fill it with refusals, and drive out who passed


async def test_keys_of_one_issuer_sign_nothing_for_another(autojump_clock: MockClock) -> None:
    """Both issuers publish on one site here, at addresses of their own."""
    both = gated(SubjectRules(issuers=("http://login.example.com", "http://login.example.com/other"), audiences=("gateway",)))
    site = Site(
        {
            OPENID: document({"issuer": "http://login.example.com", "jwks_uri": "http://login.example.com/keys"}),
            f"/other{OPENID}": document({"issuer": "http://login.example.com/other", "jwks_uri": "http://login.example.com/others"}),
            "/keys": published("p256"),
            "/others": published("ed"),
        }
    )
    async with guarded(site, both) as it:
        mine, others = token(iss="http://login.example.com"), token("EdDSA", iss="http://login.example.com/other")
        assert [passed(await exchange(it.verifier, asking(subject, both))) for subject in (mine, others)] == [True, True]
        for crossed in (token("EdDSA", iss="http://login.example.com"), token(iss="http://login.example.com/other")):
            assert "does not publish" in refused(await exchange(it.verifier, asking(crossed, both)))
        # Also under the name of the other's key.
        named = raw({"alg": "ES256", "kid": "p256"}, claims(iss="http://login.example.com/other"), P256)
        assert "does not publish" in refused(await exchange(it.verifier, asking(named, both)))


async def test_cached_verifications_are_bounded(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "MAX_RESULTS", 3)
    verified = counting(monkeypatch)
    subjects = [token(jti=str(number)) for number in range(4)]
    async with guarded(publishing("p256"), gated()) as it:
        for subject in (*subjects[:3], subjects[0], subjects[3]):  # the first is used again, so the second goes
            await exchange(it.verifier, asking(subject))
        assert verified == [4]
        await exchange(it.verifier, asking(subjects[0]))
        assert verified == [4]
        await exchange(it.verifier, asking(subjects[1]))
        assert verified == [5]


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        (gated(bearer_realm="another"), False),
        (gated(attrs.evolve(RULES, audiences=("gateway", "other"))), False),
        (gated(ca_pem="another"), True),
        (gated(proxy=Proxy(False, "proxy.example.com", 3128)), True),
        (gated(attrs.evolve(RULES, jwks_uri="http://login.example.com/others")), True),
    ],
    ids=["realm", "audiences", "authorities", "proxy", "address of the keys"],
)
async def test_keys_that_are_reached_as_before_stay_known(changed: Issuer, again: bool, autojump_clock: MockClock) -> None:
    site = publishing("p256")
    async with guarded(site, gated()) as it:
        assert passed(await exchange(it.verifier, asking(GOOD)))  # which is remembered, with these keys
        site.documents["/others"] = published("ed")
        dialled = len(it.it.endpoint.dialled)
        it.use(changed)
        if again:  # nothing that came by another way counts
            outcomes: list[TokenOutcome] = []
            it.verifier.begin(asking(GOOD, changed), math.inf, outcomes.append)
            assert outcomes == []
            await trio.sleep(10)
            assert len(outcomes) == 1
            assert len(it.it.endpoint.dialled) + len(it.site.gets) > dialled + 1
        else:
            assert passed(await exchange(it.verifier, asking(GOOD, changed)))
            assert it.fetches == 1


async def test_an_issuer_that_goes_takes_its_keys_along(autojump_clock: MockClock) -> None:
    site = Site({"/keys": b""})
    async with guarded(site, gated()) as it:
        outcomes: list[TokenOutcome] = []
        it.verifier.begin(asking(GOOD), math.inf, outcomes.append)
        it.use()
        assert no_keys(outcomes[0])
        assert no_keys(await exchange(it.verifier, asking(GOOD)))
        assert len(outcomes) == 1
        await trio.sleep(2 * REFRESH_S)
        assert it.fetches == 1


def counting_turns(it: Gated, ended: list[TokenOutcome]) -> list[int]:
    """Return how many of those who wait for keys are told in each turn from now on."""
    (jwks,) = it.verifier.keys.caches.values()
    told, turn = list[int](), jwks.turn

    def counted(work: Callable[[], None]) -> None:
        before = len(ended)
        turn(work)
        told.append(len(ended) - before)

    jwks.turn = counted
    return told


@pytest.mark.parametrize("goes", [False, True], ids=["without their key", "for an issuer that goes"])
async def test_many_who_wait_for_keys_are_told_in_small_steps(goes: bool, autojump_clock: MockClock) -> None:
    """A name of a key that is not known makes strangers wait for the same fetch, without a key of their own."""
    made_up = token("ES256", {"kid": "new"})[:-8]
    async with guarded(Site({"/keys": b""}) if goes else publishing("p256"), gated()) as it:
        await wait_all_tasks_blocked()
        ended = list[TokenOutcome]()
        told = counting_turns(it, ended)
        for number in range(100):
            it.verifier.begin(asking(f"{made_up}{number:07d}A"), math.inf, ended.append)
        if goes:
            it.use()
        await trio.sleep(0 if goes else DOCUMENT_TIMEOUT)
        await wait_all_tasks_blocked()
        assert len(ended) == 100
        assert all(map(no_keys, ended)) == goes
        assert max(told) <= TOLD_AT_ONCE
