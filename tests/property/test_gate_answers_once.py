"""Law: whatever happens, each request at the gate is answered exactly once unless it left, and passes only by the keys in force.

Callers come with good tokens and bad ones, leave and run out of time. Meanwhile keys are rotated, withdrawn and not to be had, profiles
change and go, exchanges end late, time passes, and at last the service ends.
"""

from typing import Final, final

import attrs
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.errors import Diagnostic
from exchanger.exchange.verify import SubjectTokenVerifier
from exchanger.jwt.claims import SubjectPolicy
from exchanger.jwt.verify import Claims, Unverified, judge, read_token
from exchanger.typing import Ticket
from exchanger.values.issuer import Issuer
from exchanger.values.token import ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest
from tests.examples import examples
from tests.exchange.examples import KEYS_URI, RULES, Waiting, asking, gated, guarded, published
from tests.jwt.issuer import ISSUER, NOW, STRANGER, claims, raw, token
from tests.oauth.fakes import ISSUED, response
from tests.oauth.published import Site

PROFILES: Final = (
    gated(),
    gated(attrs.evolve(RULES, audiences=("other",))),
    gated(attrs.evolve(RULES, jwks_uri=f"{KEYS_URI}?again")),
    None,
)
TOKENS: Final = (
    token(exp=NOW + 10**6),
    token("EdDSA", exp=NOW + 10**6),
    token(aud="other", exp=NOW + 10**6),
    token(exp=NOW + 40),
    raw({"alg": "RS256", "kid": "rsa"}, claims(), STRANGER),
    "opaque",
)
ANSWERS: Final = (published("p256"), published("p256", "ed"), published("ed"), response(b"", 500), b"")


@final
@attrs.frozen
class Ask:
    subject: int
    budget: float


@final
@attrs.frozen
class Leave:
    number: int


@final
@attrs.frozen
class Publish:
    answer: int


@final
@attrs.frozen
class Use:
    profile: int


@final
@attrs.frozen
class Land:
    pass


Step = Ask | Leave | Publish | Use | Land | float
one: st.SearchStrategy[Step] = st.one_of(
    st.builds(Ask, st.just(0), st.just(20.0)),
    st.builds(Ask, st.integers(0, 1), st.just(20.0)),
    st.builds(Ask, st.integers(0, len(TOKENS) - 1), st.sampled_from([0.0, 0.3, 20.0])),
    st.builds(Leave, st.integers(0, 20)),
    st.builds(Publish, st.integers(0, len(ANSWERS) - 1)),
    st.builds(Use, st.integers(0, 1)),
    st.builds(Use, st.integers(0, len(PROFILES) - 1)),
    st.builds(Land),
    st.sampled_from([0.0, 0.1, 1.0, 8.0, 61.0, 4000.0]),
    st.sampled_from([1.0, 61.0]),
)
steps = st.lists(one, min_size=3, max_size=40)


@final
@attrs.define(eq=False)
class Asked:
    """One request, and how often it was answered."""

    request: TokenRequest
    outcomes: list[TokenOutcome] = attrs.field(factory=list)
    ticket: Ticket | None = None
    left: bool = False


@final
@attrs.define(eq=False)
class Behind:
    """Implements ``TokenExchanger``: looks at each request that passed, and answers every other one later."""

    gate: SubjectTokenVerifier | None = None
    wrong: list[str] = attrs.field(factory=list)
    begun: int = 0
    waiting: list[Waiting] = attrs.field(factory=list)

    def begin(self, request: TokenRequest, due: float, done: object, /) -> TokenOutcome | Ticket:
        del due
        assert self.gate is not None
        if not self._may_pass(self.gate, request):
            self.wrong.append(request.subject_token.reveal())
        self.begun += 1
        if self.begun % 2:
            return ISSUED
        self.waiting.append(Waiting(done))  # type: ignore[arg-type]
        return self.waiting[-1]

    def _may_pass(self, gate: SubjectTokenVerifier, request: TokenRequest) -> bool:
        subject = request.issuer.subject
        read = read_token(request.subject_token.reveal())
        ring = gate._rings.get((request.issuer.name, ISSUER))
        if not isinstance(read, Unverified) or ring is None or ring.keys is None:
            return False
        return isinstance(judge(read, ring.keys, SubjectPolicy(subject.issuers, subject.audiences, has_actor=False), gate.now()), Claims)

    def land(self) -> None:
        waiting, self.waiting = self.waiting, []
        for ticket in waiting:
            if not ticket.left:
                ticket.done(ISSUED)


async def live(planned: list[Step]) -> None:
    behind, asked = Behind(), list[Asked]()
    site = Site({"/keys": ANSWERS[0], "/keys?again": ANSWERS[1]})
    profile: Issuer | None = PROFILES[0]
    last = gated()
    async with guarded(site, behind=behind) as it:
        behind.gate = it.gate
        it.use(gated())  # its keys are not known yet
        for step in planned:
            match step:
                case Ask(subject, budget):
                    found = Asked(asking(TOKENS[subject], profile or last))
                    asked.append(found)
                    begun = it.gate.begin(found.request, trio.current_time() + budget, found.outcomes.append)
                    if isinstance(begun, ExchangedToken | ExchangeFailure):
                        found.outcomes.append(begun)
                    else:
                        found.ticket = begun
                case Leave(number):
                    if number < len(asked) and asked[number].ticket is not None and not asked[number].outcomes and not asked[number].left:
                        asked[number].left = True
                        asked[number].ticket.leave()  # type: ignore[union-attr]
                case Publish(answer):
                    site.documents = dict.fromkeys(("/keys", "/keys?again"), ANSWERS[answer])
                case Use(number):
                    profile = PROFILES[number]
                    last = profile or last
                    it.use(*(() if profile is None else (profile,)))
                case Land():
                    behind.land()
                case float():
                    await trio.sleep(step)
                    await wait_all_tasks_blocked()
            assert all(len(one.outcomes) <= (not one.left) for one in asked)
    behind.land()
    assert behind.wrong == []
    for found in asked:
        assert len(found.outcomes) == (not found.left)
        for outcome in found.outcomes:
            assert outcome.subject is not None or (isinstance(outcome, ExchangeFailure) and outcome.diagnostic is Diagnostic.KEYS_UNKNOWN)


@settings(max_examples=examples(300))
@example([1.0, Ask(0, 20.0), Publish(2), 4000.0, Ask(0, 20.0), 1.0])  # its key is withdrawn
@example([1.0, Ask(3, 20.0), 61.0, 61.0, Ask(3, 20.0), 1.0])  # it expires
@given(steps)
def test_each_request_is_answered_once_and_passes_by_the_keys_in_force(planned: list[Step]) -> None:
    trio.run(live, planned, clock=MockClock(autojump_threshold=0))
