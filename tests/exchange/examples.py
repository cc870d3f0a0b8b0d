"""A verifier before the pipeline, callers' issuers in memory, and the tokens that they sign."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final, final

import attrs
import trio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from exchanger.authz.decision.check import finish
from exchanger.authz.decision.outcome import ExchangePending, Outcome
from exchanger.exchange.interfaces import Ticket, TokenExchanger
from exchanger.exchange.oauth.settings import TokenClientSettings
from exchanger.exchange.verify import SubjectTokenVerifier
from exchanger.model.entry import ExchangeEntry
from exchanger.model.issuer import Issuer, SubjectRules
from exchanger.model.token import ExchangedToken, TokenOutcome, TokenRequest
from tests.authz.decision.examples import snapshot
from tests.exchange.oauth.fakes import HTTP, ISSUED, World, kept, token_request, world
from tests.exchange.oauth.published import Site, Steady, document
from tests.formats.jwt.issuer import ISSUER, KEYS, NOW, jwk
from tests.lines import Lines

KEYS_URI: Final = "http://login.example.com/keys"
RULES: Final = SubjectRules(issuers=(ISSUER,), audiences=("gateway",), jwks_uri=KEYS_URI)


def gated(rules: SubjectRules = RULES, name: str = "primary", **more: object) -> Issuer:
    plain = token_request().issuer
    return attrs.evolve(plain, name=name, subject=rules, **more)  # type: ignore[arg-type]  # fields of an issuer


def asking(subject: str, issuer: Issuer | None = None) -> TokenRequest:
    return attrs.evolve(token_request(subject), issuer=issuer or gated())


def published(*kids: str, headers: tuple[str, ...] = ()) -> bytes:
    """The answer with the keys of these names."""
    return document({"keys": [jwk(KEYS[kid], kid=kid) for kid in kids]}, *headers)


def publishing(*kids: str, **more: bytes) -> Site:
    return Site({"/keys": published(*kids), **more})


@final
@attrs.define(eq=False)
class Waiting:
    """One request behind the verifier."""

    done: Callable[[TokenOutcome], None]
    left: bool = False

    def leave(self) -> None:
        self.left = True


@final
@attrs.define(eq=False)
class Behind:
    """Implements ``TokenExchanger``: every exchange succeeds at once."""

    begun: list[TokenRequest] = attrs.field(factory=list)

    def begin(self, request: TokenRequest, deadline: float, done: Callable[[TokenOutcome], None], /) -> TokenOutcome | Ticket:
        del deadline, done
        self.begun.append(request)
        return ISSUED


@final
@attrs.define(eq=False)
class Nobody:
    """Implements ``TokenExchanger``: no request may come here."""

    def begin(self, request: TokenRequest, deadline: float, done: Callable[[TokenOutcome], None], /) -> TokenOutcome | Ticket:
        raise AssertionError(request.issuer.name)


NOBODY: Final = Nobody()


@final
@attrs.define(eq=False)
class Gated:
    """A verifier and what is around it; ``skew`` is by how much its wall clock is wrong."""

    it: World
    site: Site
    learned: Lines
    behind: Behind
    began: float
    skew: float = 0.0
    verifier: SubjectTokenVerifier = attrs.field(init=False)

    def now(self) -> float:
        return NOW + trio.current_time() - self.began + self.skew

    @property
    def fetches(self) -> int:
        return self.site.gets.count("/keys")

    def use(self, *issuers: Issuer) -> None:
        self.verifier.use_issuers({issuer.name: issuer for issuer in issuers})


@asynccontextmanager
async def guarded(
    site: Site, *issuers: Issuer, behind: TokenExchanger | None = None, settings: TokenClientSettings = HTTP
) -> AsyncGenerator[Gated]:
    """Run a verifier for ``issuers``; by the time of the block each key was asked for. At the end nothing is left."""
    own = Behind()
    with capture_logs() as entries:
        async with world(site.serve, settings=settings) as it:
            found = Gated(it, site, Lines(entries), behind if isinstance(behind, Behind) else own, trio.current_time())
            found.verifier = SubjectTokenVerifier(behind or own, NOBODY, it.client.documents, it.client.reactor, found.now, Steady())
            found.use(*issuers)
            async with trio.open_nursery() as nursery:
                await nursery.start(found.verifier.run)
                await wait_all_tasks_blocked()
                yield found
                nursery.cancel_scope.cancel()
            assert found.verifier.keys.followed == {}
            assert all(not jwks.waiters for jwks in found.verifier.keys.caches.values())
            assert it.client.connections.open == kept(it.client)
            await trio.sleep(HTTP.idle_connection_timeout + 1)


def passed(outcome: TokenOutcome) -> bool:
    return isinstance(outcome, ExchangedToken) and outcome.subject is not None and not outcome.subject.refusal


def answer_to(request: TokenRequest, outcome: TokenOutcome, realm: str = "") -> Outcome:
    """Return what a caller gets when its exchange ends so."""
    entry = snapshot().match("api.example.com", "/orders", "GET")
    assert isinstance(entry, ExchangeEntry)
    return finish(ExchangePending(entry, request, realm), outcome)
