"""The playground of the demo's console: runs scenarios, sends requests, and stores the policy files that are edited there.

Everything is bounded: what may be sent, how many runs there are at once, and how long one takes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar, final

import attrs
import trio

from exchanger.commands.offline.rules import PolicyRules
from exchanger.commands.playground.lint import Linted, lint
from exchanger.commands.playground.policy_files import ChangedElsewhere, NotSaved, PolicyFiles, Revision, becomes_active, version_of
from exchanger.commands.playground.preview import preview
from exchanger.commands.playground.requests import MalformedBody, RunRequest, read_name, read_run, read_save, read_send, read_text
from exchanger.commands.playground.results import Json, Verify, result_of_finding, result_of_request
from exchanger.commands.scenarios.display import as_object, shell_line
from exchanger.commands.scenarios.runner import run_scenario
from exchanger.commands.scenarios.scenario import EqualRequests, PolicyEdit, Scenario
from exchanger.commands.scenarios.target import ScenarioTarget
from exchanger.net.http.message import Handler, Request, Response
from exchanger.net.network import SYSTEM
from exchanger.operations.console.message import error, json_response

# Runs and requests at once: a page has one at a time, and a few pages may be open.
MAX_RUNS: Final = 4
# Seconds for a run: the longest, an edit and its reversal, takes two; one that waits for every bound of the gateway, some twenty.
RUN_S: Final = 30.0

_BUSY: Final = error(429, "too many runs are in progress; try again in a moment", ("Retry-After", "1"))
_TOO_LATE: Final = error(504, "the run took too long and was stopped")
_NO_SCENARIO: Final = error(404, "there is no such scenario")
_NO_FILE: Final = error(404, "the demo has no such policy file")
_CHANGED: Final = error(409, "the file was changed elsewhere meanwhile")
_TAKEN: Final = error(409, "there is a file of this name already")

_T = TypeVar("_T")


@final
@attrs.frozen
class PlaygroundSettings:
    """What the playground works with.

    Attributes:
        target: What scenarios run against.
        scenarios: Those on offer.
        files: The policy files.
        rules: How the service reads policy.
        revision: Numbers the versions of the policy that the service decides by; ``None`` if unknown, and then nothing waits for one.
        verify: Verifies tokens by their issuer's keys; ``None`` without keys, as with the demo's own token endpoint.
        keycloak: Whether the tokens are those of a real Keycloak.
    """

    target: ScenarioTarget
    scenarios: tuple[Scenario, ...]
    files: PolicyFiles
    rules: PolicyRules
    revision: Revision | None = None
    verify: Verify | None = None
    keycloak: bool = False


@final
@attrs.define(eq=False)
class Playground:
    """The handlers of ``/lab``; ``running`` counts the runs in progress."""

    _settings: PlaygroundSettings
    running: int = attrs.field(default=0, init=False)
    # For people and for scenarios that edit: neither changes a file while the other does.
    _editing: trio.Lock = attrs.field(factory=trio.Lock, init=False, repr=False)
    # A file of a megabyte takes a second to read; one at a time is as fast as all together.
    _reading: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False, repr=False)

    def routes(self) -> dict[tuple[str, str], Handler]:
        """Return the handlers by method and path."""
        return {
            ("GET", "/lab/scenarios"): self.scenarios,
            ("POST", "/lab/run"): self.run,
            ("POST", "/lab/request"): self.request,
            ("GET", "/lab/policy"): self.policy,
            ("POST", "/lab/policy"): self.create,
            ("PUT", "/lab/policy"): self.save,
            ("POST", "/lab/policy/lint"): self.lint,
            ("POST", "/lab/policy/reset"): self.reset,
        }

    async def scenarios(self, _request: Request) -> Response:
        """List the scenarios that can be run."""
        await trio.lowlevel.checkpoint()
        settings = self._settings
        gateway = settings.target.gateway.base_url
        shown = [_shown(scenario, gateway) for scenario in settings.scenarios]
        return json_response({"gateway": gateway, "keycloak": settings.keycloak, "scenarios": shown})

    async def run(self, request: Request) -> Response:
        """Run one scenario."""
        wanted = read_run(request.body)
        if isinstance(wanted, MalformedBody):
            return error(400, wanted.reason)
        scenario = next((scenario for scenario in self._settings.scenarios if scenario.name == wanted.name), None)
        return _NO_SCENARIO if scenario is None else await self._bounded(partial(self._run, scenario, wanted))

    async def request(self, request: Request) -> Response:
        """Send one request."""
        wanted = read_send(request.body)
        if isinstance(wanted, MalformedBody):
            return error(400, wanted.reason)
        settings = self._settings
        target = settings.target if wanted.own is None else settings.target.with_own_token(wanted.own)
        token = target.subjects(wanted.call.subject) if wanted.own is None else wanted.own

        async def one() -> Json:
            return await result_of_request(await target.send(wanted.call, token), target, settings.verify)

        return await self._bounded(one)

    async def policy(self, _request: Request) -> Response:
        """Return the current policy files; those that the demo did not come with are ``added``."""
        # A page must not start from what a scenario writes while it edits.
        async with self._editing:
            # Abandoned when cancelled: it only reads.
            texts = await SYSTEM.run_sync(self._settings.files.texts, abandon_on_cancel=True)
        originals = self._settings.files.originals
        listed = [
            {"name": name, "text": text, "version": version_of(text)} | ({} if name in originals else {"added": True})
            for name, text in texts.items()
        ]
        return json_response({"files": listed})

    async def create(self, request: Request) -> Response:
        """Make a file with a first policy, wait until it is active, and return its text."""
        name = read_name(request.body)
        if isinstance(name, MalformedBody):
            return error(400, name.reason)
        text, effect = await self._write(partial(self._settings.files.create, name))
        if isinstance(text, ChangedElsewhere):
            return _TAKEN
        if isinstance(text, NotSaved):
            return error(400, text.reason)
        return json_response({"text": text, "version": version_of(text), "active": effect})

    async def lint(self, request: Request) -> Response:
        """Check a file as the service would, and on request, report which example requests it would decide differently."""
        wanted = read_text(request.body)
        if isinstance(wanted, MalformedBody):
            return error(400, wanted.reason)
        if wanted.name not in self._settings.files:
            return _NO_FILE
        found = await self._lint(wanted.name, wanted.text)
        shown: Json = {"documents": found.documents, "problems": _problems(found)}
        if wanted.compare:
            shown["compared"] = await self._preview(wanted.name, wanted.text)
        return json_response(shown)

    async def save(self, request: Request) -> Response:
        """Write a file, wait until it is active, and return the service's problems with it."""
        wanted = read_save(request.body)
        if isinstance(wanted, MalformedBody):
            return error(400, wanted.reason)
        if wanted.name not in self._settings.files:
            return _NO_FILE
        saved, effect = await self._write(partial(self._settings.files.save, wanted.name, wanted.text, wanted.version))
        if isinstance(saved, ChangedElsewhere):
            return _CHANGED
        if isinstance(saved, NotSaved):
            return error(400, saved.reason)
        problems = _problems(await self._lint(wanted.name, wanted.text))
        return json_response({"saved": True, "active": effect, "version": version_of(wanted.text), "problems": problems})

    async def reset(self, request: Request) -> Response:
        """Put a file back; one that the demo did not come with is removed."""
        name = read_name(request.body)
        if isinstance(name, MalformedBody):
            return error(400, name.reason)
        if name not in self._settings.files:
            return _NO_FILE
        text, _ = await self._write(partial(self._settings.files.reset, name))
        if isinstance(text, NotSaved):
            return error(500, text.reason)
        return json_response({"removed": True} if text is None else {"text": text, "version": version_of(text)})

    async def _run(self, scenario: Scenario, wanted: RunRequest) -> Json:
        target = self._settings.target.with_own_token(wanted.token) if wanted.token else self._settings.target
        async with self._alone(scenario):
            finding = await run_scenario(scenario, target)
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
        if self.running >= MAX_RUNS:
            return _BUSY
        self.running += 1
        try:
            with trio.move_on_after(RUN_S):
                return json_response(await run())
        finally:
            self.running -= 1
        return _TOO_LATE

    async def _write(self, write: Callable[[], _T]) -> tuple[_T, bool]:
        """Return the result of ``write``, and whether the change is active, so that the very next request meets it."""
        revision = self._settings.revision
        async with self._editing:
            before = None if revision is None else await revision()
            written = await SYSTEM.run_sync(write)
            if revision is None or isinstance(written, NotSaved | ChangedElsewhere):
                return written, False
            return written, await becomes_active(before, revision)

    async def _lint(self, name: str, text: str) -> Linted:
        def look() -> Linted:
            return lint(name, text, self._settings.files.texts(), self._settings.rules)

        # Abandoned when cancelled: it only reads.
        return await SYSTEM.run_sync(look, abandon_on_cancel=True, limiter=self._reading)

    async def _preview(self, name: str, text: str) -> Json:
        settings = self._settings
        calls = tuple(scenario.call for scenario in settings.scenarios)

        def look() -> Json:
            return preview(name, text, settings.files.texts(), settings.rules, calls)

        # Abandoned when cancelled: it only reads.
        return await SYSTEM.run_sync(look, abandon_on_cancel=True, limiter=self._reading)


def _shown(scenario: Scenario, gateway: str) -> Json:
    count = scenario.count if isinstance(scenario, EqualRequests) else 1
    return {**as_object(scenario), "count": count, "curl": shell_line(scenario).replace('"$GATEWAY"', gateway)}


def _problems(linted: Linted) -> list[Json]:
    return [problem.shown() for problem in linted.problems]
