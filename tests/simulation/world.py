"""One seed: the real supervisor between simulated gateways, issuers and an API server. A storm, then quiet, then SIGTERM."""

import json
import pkgutil
import signal
import ssl
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, Final, final

import attrs
import trio

import tests.simulation
from exchanger.app.drain_delay import QUIET_S
from exchanger.app.settings import Settings, read_settings
from exchanger.app.supervisor import Supervisor
from exchanger.model.errors import ExchangerError
from exchanger.operations.telemetry.log import logging_to_stdout
from tests.held import held, machines
from tests.simulation.bounds import counted
from tests.simulation.cluster import Cluster
from tests.simulation.doors import Authorizing, Processing
from tests.simulation.folder import Folder
from tests.simulation.forwarding import HTTP_PORT, Forwarding
from tests.simulation.gateway import LEFT, PORT, TLS_PORT, Gateway, Question
from tests.simulation.grammar import MOVING_HOST, PATHS, Request
from tests.simulation.identity import HOST, IdentityProvider
from tests.simulation.issuer import MAX_TTL, SimulatedIssuer
from tests.simulation.kernel import Kernel, Trace, seeded
from tests.simulation.network import SimulatedNetwork
from tests.simulation.part import CANARY, Part
from tests.simulation.plan import Plan
from tests.simulation.policy import Authors
from tests.simulation.proof import signed
from tests.simulation.readers import Lines
from tests.simulation.tls import AUTHORITY, certificate, client_context, listening, server_context
from tests.simulation.upstreams import Upstreams
from tests.waiting import until

# Seconds after the storm until changes are followed again: what an outage of the API server takes to be over.
QUIET: Final = 45.0
# Seconds within which a service that got SIGTERM serves again: the drain, the longest pause between two attempts, and reading everything.
_STARTS: Final = 90.0
# Seconds between the questions by which breakers find out that the storm is over: more than their longest pause. And between those of the
# last round, in which everything must be as if there had been no storm.
_PROBING: Final = 4.0
_CALM: Final = 0.05
# A second: questions where a denial moves, which may be missing for milliseconds only.
_WATCHING: Final = 25.0
# Tokens of an issuer that are kept at most where caches are crowded.
_FEW: Final = 5
# How often a question is asked, and the seconds within which it is asked again.
_TRIES: Final = 3
# The share of requests that one user makes who insists.
_INSISTS: Final = 0.9
_RETRY_WITHIN: Final = 0.05
_PATIENCES: Final = (0.25, 0.5, 1.0, 2.0)


@final
@attrs.define(eq=False)
class Life:
    """One process of the service: when it was born, served first, got SIGTERM, got it again, and had ended (seconds)."""

    supervisor: Supervisor
    born: float
    served: float = float("inf")
    terminated: float = float("inf")
    hurried: float = float("inf")
    ended: float = float("inf")


@final
@attrs.define(eq=False)
class World:
    """Everything around one supervisor, or one for each replica; ``folder`` is for their files.

    ``quiet`` is when the storm was over, ``calm`` when nothing of it may be left (seconds). ``jumps``: when the wall clock was set, and by
    what.
    """

    plan: Plan
    kernel: Kernel
    folder: Path
    network: SimulatedNetwork = attrs.field(init=False)
    authors: Authors = attrs.field(init=False)
    issuers: dict[str, SimulatedIssuer] = attrs.field(init=False)
    identity: IdentityProvider = attrs.field(init=False)
    gateways: list[Gateway] = attrs.field(init=False)
    parts: list[Part] = attrs.field(factory=list, init=False)
    lines: Lines = attrs.field(init=False)
    questions: list[Question] = attrs.field(factory=list, init=False)
    answered: list[Question] = attrs.field(factory=list, init=False)
    jumps: list[tuple[float, float]] = attrs.field(factory=list, init=False)
    quiet: float = attrs.field(default=float("inf"), init=False)
    calm: float = attrs.field(default=float("inf"), init=False)
    terminated: float = attrs.field(default=float("inf"), init=False)
    supervisors: list[Supervisor] = attrs.field(factory=list, init=False)
    lives: list[Life] = attrs.field(factory=list, init=False)
    left_open: list[str] = attrs.field(factory=list, init=False)
    at_rest: dict[str, int] = attrs.field(factory=dict, init=False)
    serving: bool = attrs.field(default=False, init=False)
    crash: str = attrs.field(default="", init=False)
    _users: Random = attrs.field(init=False)
    _restarts: Random = attrs.field(init=False)
    _logs: AsyncExitStack = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        plan, kernel = self.plan, self.kernel
        self._users, self._restarts = kernel.random("users"), kernel.random("lives")
        self.network = SimulatedNetwork(kernel, plan.links)
        policies = Folder(kernel, self.folder / "policies", plan.folder_faults, plan.mounted) if plan.folder else None
        self.authors = Authors(kernel, plan, policies or Cluster(kernel, plan.cluster_faults, plan.strange))
        self.lines = Lines(kernel, self.folder)
        self.identity = self.network.hosts[HOST] = IdentityProvider(self)
        self.issuers, self.gateways = {}, []
        for number in range(plan.issuers):
            self.add_issuer(f"issuer-{number}")
        for module in pkgutil.iter_modules(tests.simulation.__path__):
            if not module.name.startswith(("_", "test_")):
                import_module(f"tests.simulation.{module.name}")
        made = (Part.kinds[name].of(self) for name in sorted(Part.kinds))
        self.parts += (part for part in made if part is not None)
        for issuer in self.issuers.values():
            issuer.hated = self._token(0)[0] if plan.hated else ""
        context = next(filter(None, (part.context() for part in self.parts)), client_context()) if plan.tls_gateways else None
        upstreams = next((part for part in self.parts if isinstance(part, Upstreams)), None)
        self.gateways += (self._gateway(number, context, upstreams) for number in range(plan.gateways))

    def add_issuer(self, name: str) -> None:
        """Let there be another issuer."""
        plan, http2 = self.plan, self.plan.http2 and len(self.issuers) % 2 == 0
        self.issuers[name] = issuer = SimulatedIssuer(self.kernel, name, plan.faults, plan.often, plan.latency, http2=http2)
        issuer.single_use = plan.single_use
        issuer.context = server_context(self.folder, "h2" if http2 else "http/1.1") if plan.tls else None
        self.network.hosts[issuer.host] = issuer

    def _gateway(self, number: int, context: ssl.SSLContext | None, upstreams: Upstreams | None) -> Gateway:
        plan = self.plan
        secured = number >= plan.gateways - plan.tls_gateways
        port = TLS_PORT if secured else PORT + number % plan.replicas
        asks = self.kernel, self.network, f"gateway-{number}", self._ended, port, context if secured else None
        if plan.ext_proc <= number < plan.ext_proc + plan.http_gateways and not secured:
            return Forwarding(*asks)
        return Processing(*asks, manners=plan.manners, upstreams=upstreams) if number < plan.ext_proc else Authorizing(*asks)

    @property
    def path_of_profiles(self) -> Path:
        return self.folder / "issuers.yaml"

    def profiles(self) -> str:
        """Return the text of the profiles file."""
        plan, profiles = self.plan, []
        for issuer in self.issuers.values():
            profile: dict[str, Any] = {
                "name": issuer.name,
                "tokenEndpoint": f"{'https' if plan.tls else 'http'}://{issuer.host}/token",
                "clientID": "client",
                "clientSecret": f"{CANARY}-secret",
            }
            if issuer.http2:
                profile["tokenEndpointProtocol"] = "http2"
            if plan.tls:
                profile["caFile"] = str(self.folder / "authorities.pem")
            if plan.cache:
                profile["cache"] = {"maxTTL": f"{MAX_TTL}s", "maxEntries": _FEW if plan.crowded else 1000}
                profile["cache"] |= {"evictRejected": True} if plan.refusals else {}
            if plan.permits:
                profile["limits"] = {"maxInFlight": plan.permits, "breaker": True}
            for part in self.parts:
                profile |= part.profile(issuer)
            profiles.append(profile)
        return json.dumps({"issuers": profiles})

    def environment(self) -> dict[str, str]:
        """Write the files that the service reads, and return its variables."""
        (self.folder / "authorities.pem").write_bytes(certificate(AUTHORITY))
        self.path_of_profiles.write_text(self.profiles())
        environment = {
            "GRPC_HOST": "127.0.0.1",
            "POLICY_EVENTS": "false",
            "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true",
            "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": str(self.path_of_profiles),
            "TOKEN_ENDPOINT_CONNECTION_REUSE": str(not self.plan.single_use).lower(),
            "LOG_DECISIONS": "all",
        }
        environment |= self.authors.place.environment()
        if self.plan.room:
            environment |= {"POLICY_MAX_DOCUMENTS": str(self.plan.room), "POLICY_MAX_SIZE_KIB": str(self.plan.kib)}
        if self.plan.quota:
            environment["POLICY_MAX_ENTRIES"] = str(self.plan.quota)
        if self.plan.http_gateways:
            environment["HTTP_AUTHZ_PORT"] = str(HTTP_PORT)
        if self.plan.tls_gateways:
            environment |= listening(self.folder)
        for part in self.parts:
            environment |= part.environment()
        return environment

    @property
    def present(self) -> list[Life]:
        """The newest life of each replica."""
        return self.lives[-self.plan.replicas :]

    async def run(self) -> None:
        """Live through all of it."""
        environment = self.environment()
        self.authors.begin()
        before = signal.signal(signal.SIGTERM, lambda *_: self.kernel.tell("service", "gets", "SIGTERM", "too late"))
        try:
            async with AsyncExitStack() as self._logs, trio.open_nursery() as nursery:
                for number in range(self.plan.replicas):
                    nursery.start_soon(self._serve, environment, number)
                    await until(lambda: len(self.lives) > number)  # noqa: B023 - awaited
                    if self.plan.restarts and self._restarts.random() < 0.3:  # before it serves
                        self.kernel.after(self._restarts.uniform(0.0, 0.05), self._restart)
                    await until(lambda: self.lives[-1].served < float("inf"), _STARTS)
                await self._live()
                self.terminated = self.kernel.now
                for life in reversed(self.present):  # the signal reaches the one that has begun to wait for it last
                    self._signal(life)
                    await until(lambda: life.ended < float("inf"), _STARTS)  # noqa: B023 - awaited
        finally:
            signal.signal(signal.SIGTERM, before)
        self.left_open += self.network.held

    async def _serve(self, environment: dict[str, str], number: int) -> None:
        """Start the service whenever it has ended, as kubelet does, until the end of the world."""
        while self.kernel.now < self.terminated:
            try:
                await self._life(environment, number)
            except* ExchangerError as faults:
                if self.lives and self.lives[-1].served < self.kernel.now < self.lives[-1].terminated:
                    raise
                told = (str(fault).replace(str(self.folder), "…") for fault in faults.exceptions)
                self.kernel.tell("service", "cannot start", *told)
            if self.kernel.now < self.terminated:
                self.left_open += self.network.held
                await trio.sleep(self._restarts.uniform(0.0, 1.0))

    async def _life(self, environment: dict[str, str], number: int) -> None:
        kernel, place, again = self.kernel, self.authors.place, len(self.lives) > number
        if isinstance(place, Folder) and again:
            place.untouched = True
            place.mend()
            self.authors.settle()
        settings = read_settings(environment)
        name = f" of life {len(self.lives)}" if again else f" of replica {number}" if number else ""
        network = self.network.network(name)
        written = attrs.evolve(network, run_sync=self.lines.run_sync)
        logging = self._logs.enter_context(logging_to_stdout(settings.log, self.lines, written))
        settings = _moved(settings, number)
        seams: dict[str, Any] = {"network": network, **place.seams}
        for part in self.parts:
            seams |= part.seams(network)
        supervisor = Supervisor(settings, logging, **seams)
        life = Life(supervisor, kernel.now)
        if again:
            kernel.tell("service", "starts again")
            for part in self.parts:
                part.restarted()
            for gateway in self.gateways:
                gateway.drained = False
        self.lives.append(life)
        self.supervisors[number:] = [supervisor]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._see_it_serve, life)
            try:
                await supervisor.run()
            finally:
                life.ended = kernel.now
            nursery.cancel_scope.cancel()
        kernel.tell("service", "has ended")

    async def _see_it_serve(self, life: Life) -> None:
        while not life.supervisor.serving:  # noqa: ASYNC110 - no event tells
            await trio.sleep(0.01)
        life.served = self.kernel.now
        if isinstance(self.authors.place, Folder):
            self.authors.place.untouched = False

    def _restart(self) -> None:
        """End the service's life, sometimes by a second signal."""
        life = self.lives[-1]
        if life.terminated == float("inf") and life.ended == float("inf"):
            self._signal(life)
            if self._restarts.random() < 0.3:
                self.kernel.after(self._restarts.uniform(0.0, 3.0), self._hurry, life)

    def _hurry(self, life: Life) -> None:
        if life.ended == float("inf"):
            self._signal(life)

    def _signal(self, life: Life) -> None:
        again = life.terminated < float("inf")
        if again:  # and perhaps once more, if no other life has begun
            life.hurried = min(life.hurried, self.kernel.now)
        else:
            life.terminated = self.kernel.now
        self.kernel.tell("service", "gets", "SIGTERM", *(["again"] if again else []))
        signal.raise_signal(signal.SIGTERM)

    def serves(self, begins: float, ends: float) -> bool:
        """Tell whether the service was there between two times, and not about to end."""
        return ends < self.terminated and any(life.served < begins and ends < life.terminated for life in self.lives)

    def has_policy(self, when: float) -> bool:
        """Tell whether the service was there, and had read its policy."""
        return any(life.served < when < life.ended for life in self.lives)

    def listens(self, when: float) -> bool:
        """Tell whether the service was there, and had no reason yet to accept no connection."""
        lives = [life for life in self.lives if life.served < when]
        return all(when < min(life.terminated + QUIET_S, life.hurried) for life in lives[-self.plan.replicas :]) and bool(lives)

    def was_cut(self, begins: float, ends: float) -> bool:
        """Tell whether the service broke off what it did between two times: after a second SIGTERM, or at the end of its grace period."""
        return any(
            min(life.hurried, life.terminated + life.supervisor.settings.shutdown_grace) <= ends
            and begins < life.ended + self.plan.links.delay[1]  # who asks on its connection may not know yet
            for life in self.lives
        )

    def born(self, when: float) -> float:
        """Return when the life began that was there then."""
        return max((life.born for life in self.lives if life.born <= when), default=0.0)

    async def _live(self) -> None:
        plan, kernel = self.plan, self.kernel
        end = kernel.now + plan.storm
        every = partial(self._every, end)
        every(plan.rate, self._arrival, "arrivals")
        every(plan.edits, self.authors.edit, "edits")
        every(plan.moves, self.authors.move, "moves")
        every(_WATCHING if plan.moves else 0.0, self._watch_the_denial, "watching")
        every(plan.outages, self.authors.strike, "outages")
        every(plan.late, self.authors.delay, "late watches")
        every(plan.restarts, self._restart, "restarts")
        for part in self.parts:
            part.storm(every)
        if plan.terminated:
            await trio.sleep(kernel.random("end").uniform(0.2, 1.0) * plan.storm)
            return
        await trio.sleep_until(end)
        self.quiet = kernel.now
        kernel.tell("the storm", "is over")
        for part in self.parts:
            part.heal()
        for issuer in self.issuers.values():
            issuer.quiet = True
        self.authors.place.heal()
        self.authors.settle()
        self.authors.mend()
        await until(lambda: all(supervisor.serving for supervisor in self.supervisors), _STARTS)
        await trio.sleep(QUIET)
        await self._ask_for_everything(_PROBING)  # breakers close by what is asked
        self.serving, self.calm = all(supervisor.serving for supervisor in self.supervisors), kernel.now
        await self._ask_for_everything(max(_CALM, self.plan.longest_call / self.plan.permits) if self.plan.permits else _CALM)
        await trio.sleep(5.0)
        # What both look at counts once.
        held_by_each = (Counter(counted(one)) | Counter(held(machines(one.pipeline))) for one in self.supervisors)
        self.at_rest = sum(held_by_each, Counter())

    async def _ask_for_everything(self, pause: float) -> None:
        """Ask each replica for each path, as users whom issuers answer."""
        users, replicas = range(self.plan.hated, self.plan.users), self.plan.replicas
        for gateways in (self.gateways[replica::replicas] for replica in range(replicas)):
            for number, request in enumerate(self.authors.requests):
                if users and gateways:
                    self._ask(users[number % len(users)], request, gateways[number % len(gateways)], 2.0)
                await trio.sleep(pause)

    def _every(self, end: float, rate: float, work: Callable[[], None], purpose: str) -> None:
        """Do ``work`` ``rate`` times a second until ``end``, at random."""
        chance, kernel = self.kernel.random(purpose), self.kernel

        def happen() -> None:
            if kernel.now < min(end, self.terminated):
                work()
                kernel.after(chance.expovariate(rate), happen)

        if rate:
            kernel.after(chance.expovariate(rate), happen)

    def _arrival(self) -> None:
        """A user asks; sometimes the same several times, or another for the same, and sometimes leaves."""
        chance, plan = self._users, self.plan
        user = 0 if plan.insists and chance.random() < _INSISTS else chance.randrange(plan.users)
        request = chance.choice(self.authors.requests)
        times = chance.randrange(2, 5) if chance.random() < 0.1 else 1
        for number in range(times):
            delay = chance.uniform(0.0, 0.02) if number else 0.0
            other = chance.randrange(plan.users) if number and chance.random() < 0.5 else user
            self.kernel.after(delay, self._ask, other, request, chance.choice(self.gateways), chance.choice(_PATIENCES))
        if chance.random() < plan.hanging_up:
            chance.choice(self.gateways).hang_up(abort=chance.random() < 0.5)

    def one_of_many_asks(self, gateway: Gateway, alike: bool) -> None:
        """Ask as one user for one thing, or as anybody for anything, by this gateway."""
        chance, users, requests = self.kernel.stream("watchers"), self.plan.users, self.authors.requests
        user, request = (users - 1, requests[0]) if alike else (chance.randrange(users), chance.choice(requests))
        self._ask(user, request, gateway, 2.0)

    def _watch_the_denial(self) -> None:
        chance = self.kernel.stream("watchers")
        self._ask(chance.randrange(self.plan.users), Request(MOVING_HOST, chance.choice(PATHS)), chance.choice(self.gateways), 1.0)

    def _ask(self, user: int, request: Request, gateway: Gateway, patience: float, tries: int = 1) -> None:
        token, key = self._token(user)
        question = Question(user, token, key, request, self.kernel.now, patience, (self.kernel.wall(),), tries)
        self.questions.append(question)
        gateway.ask(question)
        if self.kernel.now < self.quiet and self._users.random() < self.plan.leaving:
            # Some leave while their request is still on its way, which takes milliseconds.
            self.kernel.after(self._users.uniform(0.0, self._users.choice([0.01, 0.1])), gateway.leave, question)

    def _token(self, user: int) -> tuple[str, str]:
        """Return the token that a user brings, and the name of its key, "" where nobody verifies it."""
        if token := next(filter(None, (part.token(user) for part in self.parts)), None):
            return token
        name = f"{CANARY}-user-{user}"
        return (signed({"sub": name}) if self.plan.proven else name), ""

    def _ended(self, question: Question) -> None:
        """A question is answered, or its answer lost. Some ask again, by any gateway."""
        for part in self.parts:
            part.ended(question)
        if not question.gone:
            self.answered.append(question)
        chance = self.kernel.stream("questions that are asked again")
        failed = question.reply is None or question.reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if failed and question.gone != LEFT and question.tries < _TRIES and chance.random() < self.plan.retries:
            able = [gateway for gateway in self.gateways if not gateway.drained]
            if able:
                about = question.user, question.request, chance.choice(able), question.patience
                self.kernel.after(chance.uniform(0.0, _RETRY_WITHIN), self._ask, *about, question.tries + 1)

    @property
    def decisions(self) -> Counter[str]:
        """How many decisions have been counted, by their labels."""
        return sum((Counter(life.supervisor.metrics.overview().decisions) for life in self.lives), Counter())


def _moved(settings: Settings, by: int) -> Settings:
    """Return the settings of another replica, whose ports are ``by`` higher."""
    grpc, metrics, console = settings.grpc, settings.metrics, settings.console
    return attrs.evolve(
        settings,
        grpc=attrs.evolve(grpc, port=PORT + by),
        metrics=attrs.evolve(metrics, port=metrics.port + by),
        console=None if console is None else attrs.evolve(console, port=console.port + by),
    )


@contextmanager
def lived(plan: Plan, folder: Path, trace: Trace) -> Iterator[World]:
    """Run the world of ``plan``, and yield it."""
    kernel = Kernel(plan.seed, trace)
    world = World(plan, kernel, folder)
    with seeded(plan.seed):
        try:
            kernel.run(world.run)
        except Exception as fault:  # noqa: BLE001 - of any kind: it is what the seed has found
            world.crash = "".join(traceback.format_exception(fault))
        yield world
