"""``exchanger demo --gateway``: the demo's page and scenarios against an existing gateway. No service is started.

Policies, decisions and explanations come from the service's console, if that is named. Nothing is changed there.
"""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.resources import as_file
from pathlib import Path
from typing import Final, final

import attrs
import orjson
import trio

from exchanger.commands.demo import DemoError
from exchanger.commands.demo.console import fault_log, make_console
from exchanger.commands.demo.options import DemoOptions, ScenarioSet
from exchanger.commands.demo.reference.setup import SCENARIOS_FILE
from exchanger.commands.demo.setup import started_on
from exchanger.commands.offline.rules import PolicyRules
from exchanger.commands.playground.handlers import Playground, PlaygroundSettings
from exchanger.commands.playground.policy_files import PolicyFiles
from exchanger.commands.scenarios.client import LOOPBACK
from exchanger.commands.scenarios.command import UsageError, plan, run_scenarios, tls_context, warning_about
from exchanger.commands.scenarios.options import GatewayEndpoint, ScenariosOptions
from exchanger.commands.scenarios.scenario import GatewayCall, Scenario
from exchanger.commands.scenarios.target import ScenarioTarget
from exchanger.commands.scenarios.terminal import Progress
from exchanger.commands.scenarios.tokens import Subject
from exchanger.model.selector import Selector
from exchanger.net.http.message import Request
from exchanger.net.http.token_file import read_token
from exchanger.operations.console.proxy import ConsoleProxy
from exchanger.util.regular_file import UnusableFile

_OK: Final = 200
_UNREACHABLE: Final = frozenset({502, 504})
_NO_POLICY: Final = PolicyRules(Selector(), Selector(), frozenset())  # nothing can be edited here


@final
@attrs.frozen
class RemoteDemo:
    """What is shown: scenarios, the target that they run against, and the service's console, if known. ``warning`` "" is none."""

    scenarios: tuple[Scenario, ...]
    target: ScenarioTarget
    console: ConsoleProxy | None
    warning: str


async def check_gateway(options: DemoOptions) -> int:
    """Run the scenarios as ``exchanger scenarios`` does, and return its exit status."""
    with ExitStack() as files:
        return await run_scenarios(scenarios_options(options, files))


def plan_remote(options: DemoOptions, variables: Mapping[str, str]) -> RemoteDemo:
    """Return what ``options``, which have a gateway, say.

    Raises:
        UsageError: a file cannot be used.
    """
    with ExitStack() as files:
        of_scenarios = scenarios_options(options, files)
        scenarios, target = plan(of_scenarios, variables)
        if target is None:
            raise TypeError("a remote demo has a gateway")
        warning = warning_about(of_scenarios, scenarios, target)
    console = None if options.console is None else _console(options.console, options)
    return RemoteDemo(scenarios, target, console, warning)


def scenarios_options(options: DemoOptions, files: ExitStack) -> ScenariosOptions:
    """Return ``options`` as those of ``exchanger scenarios``; ``files`` keeps packaged files available."""
    file = options.file
    if file is None and options.scenarios is ScenarioSet.REFERENCE:
        file = files.enter_context(as_file(SCENARIOS_FILE))
    return ScenariosOptions(
        base_url=options.gateway,
        resolve=options.resolve,
        file=file,
        token_file=options.token_file,
        token_env=options.token_env,
        ca_file=options.ca_file if options.gateway is not None and options.gateway.secured else None,  # it may be the console's alone
    )


async def show_gateway(demo: RemoteDemo, options: DemoOptions, progress: Progress, up: trio.Event) -> None:
    """Serve the page until cancelled; ``up`` is set once it is served.

    Raises:
        DemoError: gateway or console cannot be used, or the page's port is in use
        ExceptionGroup: of ``DemoError``, the same
    """
    if demo.warning:
        progress.say(f"warning: {demo.warning}")
    progress.begin("gateway")
    await _check_gateway(demo.target)
    progress.done(demo.target.gateway.base_url)
    about: dict[str, object] = {"edit": False, "stream": demo.console is not None, "shows_tokens": False, "policy_source": None}
    if demo.console is not None:
        progress.begin("the service's console")
        about |= await _about(demo.console)
        progress.done(demo.console.url)
    with tempfile.TemporaryDirectory(prefix="exchanger-demo-", ignore_cleanup_errors=True) as folder:
        files = PolicyFiles(Path(folder), {})
        routes = Playground(PlaygroundSettings(demo.target, demo.scenarios, files, _NO_POLICY)).routes()
        page = make_console(options.console_port, demo.console, routes, fault_log(Path(folder) / "console.log"), about=about)
        async with trio.open_nursery() as nursery:
            port = await started_on(nursery, page.run, options.console_port)
            progress.say(_guide(demo, port))
            up.set()


def _console(address: GatewayEndpoint, options: DemoOptions) -> ConsoleProxy:
    token = None if options.console_token_file is None else read_token(options.console_token_file)
    if isinstance(token, UnusableFile):
        raise UsageError(f"--console-token-file {options.console_token_file}: {token.reason}")
    return ConsoleProxy(address.port, address.host, tls_context(options.ca_file) if address.secured else None, token)


async def _check_gateway(target: ScenarioTarget) -> None:
    """Ask once, without a token: any answer is one."""
    gateway = target.gateway
    asked = await target.send(GatewayCall(gateway.base_url.partition("://")[2], "/", Subject.NONE), "")
    if asked.response is None:
        raise DemoError(f"the gateway at {gateway.base_url} cannot be used: {asked.problem}")


async def _about(console: ConsoleProxy) -> dict[str, object]:
    """Return the parts of the service console's description of itself that also hold for the page in front of it."""
    response = await console.forward(Request("GET", "/api/about"))
    try:
        found = orjson.loads(response.body) if response.status == _OK else None
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or "token_required" not in found:
        words = "cannot be reached, or its certificate is not accepted" if response.status in {502, 504} else "is not an exchanger console"
        raise DemoError(f"the console at {console.url} {words}")
    if found["token_required"] and not found.get("version"):
        words = "needs a token: --console-token-file FILE" if console.token is None else "does not accept the token in the file"
        raise DemoError(f"the console at {console.url} {words}")
    return {name: found.get(name) for name in ("version", "shows_tokens", "policy_source")}


def _guide(demo: RemoteDemo, port: int) -> str:
    known = "not known. Without --console, policies, decisions and explanations are not shown"
    runnable = sum(not demo.target.why_not(scenario.call) for scenario in demo.scenarios)
    lines = (
        "",
        f"Gateway:         {demo.target.gateway.base_url}",
        f"Service console: {known if demo.console is None else demo.console.url}",
        f"Scenarios:       {runnable} of {len(demo.scenarios)}; the others need tokens that cannot be made here, or a local demo",
        "",
        "The gateway, its policies, its issuer and its upstream are managed elsewhere: their state is unknown here and cannot be changed.",
        "Anyone on this machine can use the page.",
        "",
        f"Console: http://{LOOPBACK}:{port}  (open it in a browser; Ctrl-C stops everything)",
    )
    return "\n".join(lines)
