"""Connects the console's parts: feed, broadcast, access and server. The supervisor runs one if CONSOLE_ADDRESS is set.

Must not know: environment variables or metrics.
"""

from collections.abc import Callable
from typing import Final, final

import attrs
import structlog
import trio

from exchanger.authz.decision.check import DecisionRules
from exchanger.model.issuer import Issuer
from exchanger.model.notice import Notices
from exchanger.net.http.message import Response
from exchanger.net.http.names import names_of
from exchanger.net.http.token_file import TokenFile
from exchanger.net.network import SYSTEM, Network
from exchanger.operations.console.access import ConsoleAccess, ConsoleSettings
from exchanger.operations.console.api import Api, ConsoleFacts, PolicyNow
from exchanger.operations.console.broadcast import Broadcast, Totals
from exchanger.operations.console.decision_json import DecisionJson, LogLine
from exchanger.operations.console.feed import Feed
from exchanger.operations.console.issuer_view import IssuerHealth
from exchanger.operations.console.message import error
from exchanger.operations.console.page.assets import Page, load_page
from exchanger.operations.console.policy_health import Freshness, PolicyHealth
from exchanger.operations.console.server import SESSION, ConsoleServerSettings, Server
from exchanger.operations.console.websocket import Handshake, send_messages
from exchanger.policy.snapshot import PolicySnapshot

_FULL: Final = error(503, "the console has reached its limit of viewers; close a page and try again", ("Retry-After", "10"))


@final
@attrs.frozen
class Sources:
    """The data of the console: the newest policy, the service's counters, and the fields of a decision's log line.

    ``is_missing``: a policy is required and no entry is active, so it decides nothing. ``notices`` are probable mistakes.
    ``freshness`` is read in a Trio task. ``rules`` are the operator's settings for all policies. ``issuers`` are those whose profiles have
    a breaker or a limit. ``is_discovered``: whether the metadata of an issuer are known.
    """

    snapshot: Callable[[], PolicySnapshot | None]
    totals: Callable[[], Totals]
    line: LogLine
    is_missing: Callable[[], bool] = lambda: False
    notices: Callable[[], tuple[Notices, ...]] = tuple
    freshness: Callable[[], Freshness] = Freshness
    rules: Callable[[], DecisionRules] = DecisionRules
    issuers: Callable[[], tuple[IssuerHealth, ...]] = tuple
    is_discovered: Callable[[Issuer], bool] = lambda _issuer: False


@final
@attrs.define(eq=False)
class Console:
    """``feed`` observes decisions, ``published`` each new version of the policy.

    ``show_tokens`` puts decoded tokens into the stream, for a demo whose tokens are worthless. No setting enables it.
    """

    _settings: ConsoleSettings
    _sources: Sources
    _about: ConsoleFacts
    _network: Network = SYSTEM
    _page: Page = attrs.field(factory=load_page, repr=False)
    _show_tokens: bool = attrs.field(default=False, kw_only=True)
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    feed: Feed = attrs.field(init=False)
    _token_file: TokenFile | None = attrs.field(init=False)
    _access: ConsoleAccess = attrs.field(init=False)
    broadcast: Broadcast = attrs.field(init=False)
    server: Server = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        settings, sources, network = self._settings, self._sources, self._network
        self.feed = Feed(network.wall)
        path = settings.token_file
        self._token_file = None if path is None else TokenFile(path, "CONSOLE_TOKEN_FILE", "console.token_file_unusable", network.run_sync)
        self._access = ConsoleAccess(self._token_file)
        about = attrs.evolve(self._about, shows_tokens=self._show_tokens)
        shown = DecisionJson(sources.line, show_tokens=self._show_tokens)
        health = PolicyHealth(sources.snapshot, sources.is_missing, sources.freshness)
        self.broadcast = Broadcast(self.feed, shown, sources.totals, about.version, network.wall, self._fault, health, sources.issuers)
        api = Api(about, self._policy_now, self._access, sources.rules, sources.is_discovered, network.run_sync)
        routes = {
            **api.routes(),
            ("POST", SESSION): self._access.open_session,
            ("DELETE", SESSION): self._access.close_session,
        }
        server = ConsoleServerSettings(settings.host, settings.port, names_of(settings.host, settings.hosts))
        self.server = Server(server, self._access, self._page, routes, self._stream, self._fault, network.listen)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """The variable that names the token file, if the file cannot be used as it is now."""
        return () if self._token_file is None else self._token_file.unreadable

    def _fault(self, fault: BaseException) -> None:
        # Only the type: the message may contain request data.
        self._log.error("console.handler_failed", error=type(fault).__qualname__)

    def _policy_now(self) -> PolicyNow:
        sources = self._sources
        return PolicyNow(sources.snapshot(), self.feed.revision, sources.is_missing(), sources.notices())

    def published(self, _snapshot: PolicySnapshot, /) -> None:
        """Take note of a new version of the policy."""
        self.feed.revision += 1

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; ``started(port)`` reports the port that is bound.

        Raises:
            OSError: the address cannot be bound.
            TokenFileError: there is no token in the token file.
        """
        if self._token_file is not None:
            await self._token_file.start()
        listeners = await self.server.bind()  # outside the nursery, which would wrap the error
        async with trio.open_nursery() as nursery:
            if self._token_file is not None:
                nursery.start_soon(self._token_file.run)
            await nursery.start(self.broadcast.run)
            port: int = await nursery.start(self.server.run, listeners)
            task_status.started(port)

    async def _stream(self, handshake: Handshake, stream: trio.abc.Stream) -> Response | None:
        revoked = self._access.revoked
        with self.broadcast.subscribed() as subscription:
            if subscription is None:
                return _FULL
            greeted = False

            async def take() -> str:
                nonlocal greeted
                if greeted:
                    return await subscription.take()
                greeted = True
                return await self.broadcast.hello(subscription)

            await send_messages(stream, handshake, take, revoked.wait)
        return None
