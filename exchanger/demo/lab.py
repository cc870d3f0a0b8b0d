"""The lab of the demo's console: runs scenarios, sends requests, and keeps the policy files that are edited there.

Everything is bounded: what may be sent, how many runs there are at once, and how long one takes. Must not know: sockets, or who may ask.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar, final

import attrs
import trio

from exchanger.console.message import error, json_response
from exchanger.demo.display import shell_line
from exchanger.demo.gateway import send
from exchanger.demo.ground import Ground, ground_with_token
from exchanger.demo.lab_asks import RunAsk, Wrong, name_ask, request_ask, run_ask, save_ask, text_ask
from exchanger.demo.lab_effect import Revision, in_force
from exchanger.demo.lab_lint import Linted, LintRules, lint
from exchanger.demo.lab_policy import Changed, NotSaved, PolicyFiles, version_of
from exchanger.demo.lab_results import Json, Verify, result_of_finding, result_of_request
from exchanger.demo.runner import Finding, run_scenario, summary
from exchanger.demo.scenario import EqualRequests, OneRequest, PolicyEdit, Scenario
from exchanger.http.message import Handler, Request, Response

MAX_RUNS: Final = 4
"""Runs and requests at once: a page has one at a time, and a few pages may be open."""
RUN_S: Final = 30.0
"""Seconds for a run: the longest, an edit and back, takes two, and one that waits for every bound of the gateway some twenty."""

_KINDS: Final[dict[type, str]] = {OneRequest: "request", EqualRequests: "equal", PolicyEdit: "edit"}
_BUSY: Final = error(429, "enough is running already; try again in a moment", ("Retry-After", "1"))
_TOO_LATE: Final = error(504, "the run took too long, and was ended")
_NO_SCENARIO: Final = error(404, "there is no such scenario")
_NO_FILE: Final = error(404, "the demo has no such policy file")
_CHANGED: Final = error(409, "the file was changed elsewhere meanwhile")

_T = TypeVar("_T")


@final
@attrs.frozen
class LabSettings:
    """What the lab works with.

    Attributes:
        ground: what scenarios are run on.
        scenarios: those that are offered.
        files: the policy files.
        rules: how the service reads policy.
        revision: numbers the versions of the policy that the service decides by; ``None``: nobody knows, and nobody waits for one.
        verify: judges tokens by their issuer's keys; ``None`` where there are none, as with the demo's own token endpoint.
        keycloak: whether the tokens are those of a real Keycloak.
    """

    ground: Ground
    scenarios: tuple[Scenario, ...]
    files: PolicyFiles
    rules: LintRules
    revision: Revision | None = None
    verify: Verify | None = None
    keycloak: bool = False


@final
@attrs.frozen
class LabStatistics:
    """``running`` are under way now; ``runs`` and ``saves`` count since the start."""

    running: int
    runs: int
    saves: int


@final
@attrs.define(eq=False)
class Lab:
    """The handlers of ``/lab``."""

    _settings: LabSettings
    _running: int = attrs.field(default=0, init=False)
    _runs: int = attrs.field(default=0, init=False)
    _saves: int = attrs.field(default=0, init=False)
    # Of a scenario that edits, and of people: each finds the file as it was before the other.
    _editing: trio.Lock = attrs.field(factory=trio.Lock, init=False, repr=False)
    # A file of a megabyte takes a second; one at a time is as fast as all together.
    _reading: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False, repr=False)

    def routes(self) -> dict[tuple[str, str], Handler]:
        """Return the handlers by method and path."""
        return {
            ("GET", "/lab/scenarios"): self.scenarios,
            ("POST", "/lab/run"): self.run,
            ("POST", "/lab/request"): self.request,
            ("GET", "/lab/policy"): self.policy,
            ("PUT", "/lab/policy"): self.save,
            ("POST", "/lab/policy/lint"): self.lint,
            ("POST", "/lab/policy/reset"): self.reset,
        }

    def statistics(self) -> LabStatistics:
        """Tell how much was done."""
        return LabStatistics(self._running, self._runs, self._saves)

    async def scenarios(self, _request: Request) -> Response:
        """List what can be run."""
        await trio.lowlevel.checkpoint()
        settings = self._settings
        gateway = settings.ground.gateway.base_url
        shown = [_shown(scenario, gateway) for scenario in settings.scenarios]
        return json_response({"gateway": gateway, "keycloak": settings.keycloak, "scenarios": shown})

    async def run(self, request: Request) -> Response:
        """Run one scenario."""
        ask = run_ask(request.body)
        if isinstance(ask, Wrong):
            return error(400, ask.reason)
        scenario = next((scenario for scenario in self._settings.scenarios if scenario.name == ask.name), None)
        return _NO_SCENARIO if scenario is None else await self._bounded(partial(self._run, scenario, ask))

    async def request(self, request: Request) -> Response:
        """Send one request."""
        ask = request_ask(request.body)
        if isinstance(ask, Wrong):
            return error(400, ask.reason)
        settings = self._settings
        ground = settings.ground if ask.own is None else ground_with_token(settings.ground, ask.own)
        token = ground.subjects(ask.call.subject) if ask.own is None else ask.own

        async def one() -> Json:
            return await result_of_request(await send(ground.gateway, ask.call, token, timeout=ground.timeout), ground, settings.verify)

        return await self._bounded(one)

    async def policy(self, _request: Request) -> Response:
        """Return the policy files as they are."""
        # What a scenario writes while it edits is nothing that anybody should go on from.
        async with self._editing:
            # Abandoned when cancelled: it only reads.
            texts = await trio.to_thread.run_sync(self._settings.files.texts, abandon_on_cancel=True)
        return json_response({"files": [{"name": name, "text": text, "version": version_of(text)} for name, text in texts.items()]})

    async def lint(self, request: Request) -> Response:
        """Say what the service would say of a file."""
        ask = text_ask(request.body)
        if isinstance(ask, Wrong):
            return error(400, ask.reason)
        if ask.name not in self._settings.files:
            return _NO_FILE
        found = await self._lint(ask.name, ask.text)
        return json_response({"documents": found.documents, "problems": _problems(found)})

    async def save(self, request: Request) -> Response:
        """Write a file, wait until it is in force, and say what the service says of it."""
        ask = save_ask(request.body)
        if isinstance(ask, Wrong):
            return error(400, ask.reason)
        if ask.name not in self._settings.files:
            return _NO_FILE
        saved, effect = await self._write(partial(self._settings.files.save, ask.name, ask.text, ask.version))
        if isinstance(saved, Changed):
            return _CHANGED
        if isinstance(saved, NotSaved):
            return error(400, saved.reason)
        problems = _problems(await self._lint(ask.name, ask.text))
        return json_response({"saved": True, "in_force": effect, "version": version_of(ask.text), "problems": problems})

    async def reset(self, request: Request) -> Response:
        """Put a file back."""
        name = name_ask(request.body)
        if isinstance(name, Wrong):
            return error(400, name.reason)
        if name not in self._settings.files:
            return _NO_FILE
        text, _ = await self._write(partial(self._settings.files.reset, name))
        if isinstance(text, NotSaved):
            return error(500, text.reason)
        return json_response({"text": text, "version": version_of(text)})

    async def _run(self, scenario: Scenario, ask: RunAsk) -> Json:
        ground = ground_with_token(self._settings.ground, ask.token) if ask.token else self._settings.ground
        async with self._alone(scenario):
            finding: Finding = await run_scenario(scenario, ground)
        return await result_of_finding(finding, self._settings.verify)

    @asynccontextmanager
    async def _alone(self, scenario: Scenario) -> AsyncIterator[None]:
        """Keep other edits away while ``scenario`` edits."""
        if isinstance(scenario, PolicyEdit):
            async with self._editing:
                yield
        else:
            yield

    async def _bounded(self, run: Callable[[], Awaitable[Json]]) -> Response:
        if self._running >= MAX_RUNS:
            return _BUSY
        self._running += 1
        self._runs += 1
        try:
            with trio.move_on_after(RUN_S):
                return json_response(await run())
        finally:
            self._running -= 1
        return _TOO_LATE

    async def _write(self, write: Callable[[], _T]) -> tuple[_T, bool]:
        """Return what ``write`` does, and whether what was written is in force: the very next request is to meet it."""
        revision = self._settings.revision
        async with self._editing:
            before = None if revision is None else await revision()
            self._saves += 1
            written = await trio.to_thread.run_sync(write)
            if revision is None or isinstance(written, NotSaved | Changed):
                return written, False
            return written, await in_force(before, revision)

    async def _lint(self, name: str, text: str) -> Linted:
        def look() -> Linted:
            return lint(name, text, self._settings.files.texts(), self._settings.rules)

        # Abandoned when cancelled: it only reads.
        return await trio.to_thread.run_sync(look, abandon_on_cancel=True, limiter=self._reading)


def _shown(scenario: Scenario, gateway: str) -> Json:
    call = scenario.call
    return {
        "name": scenario.name,
        "watch": scenario.watch,
        "kind": _KINDS[type(scenario)],
        "request": {
            "method": call.method,
            "host": call.host,
            "path": call.path,
            "headers": [list(pair) for pair in call.headers],
            "subject": call.subject.value,
        },
        "count": scenario.count if isinstance(scenario, EqualRequests) else 1,
        "expected": summary(scenario),
        "curl": shell_line(scenario).replace('"$GATEWAY"', gateway),
    }


def _problems(linted: Linted) -> list[Json]:
    return [problem.shown() for problem in linted.problems]
