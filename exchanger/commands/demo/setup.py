"""The parts of a demo, as values: its ports and files, and its scenarios with the policy and issuer profiles that they need.

There are two setups: one with the demo's own token endpoint, here, and one with a Keycloak (``keycloak.tokens``).
"""

import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import final

import attrs
import trio

from exchanger.commands.demo import DemoError
from exchanger.commands.demo.service import own_issuers, sample_grants, sample_policy, violet_issuers, violet_policy, wrong_policy
from exchanger.commands.playground.results import Verify
from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.client import LOOPBACK
from exchanger.commands.scenarios.scenario import LooseRequest, OneRequest, Scenario
from exchanger.commands.scenarios.target import UNSIGNED_SUBJECTS, Gateway, ScenarioTarget
from exchanger.commands.scenarios.tokens import Subject, Subjects, make_subjects


@final
@attrs.frozen
class DemoPorts:
    """Where everything is: ports on the loopback address, files in a temporary folder.

    ``console_port`` 0: there is no console. ``grants`` ``None``: there is no limit to what teams may do.
    """

    envoy_port: int
    grpc_port: int
    metrics_port: int
    token_port: int
    upstream_port: int
    policy: Path
    subjects: Subjects
    console_port: int = 0
    grants: Path | None = None

    @property
    def gateway(self) -> str:
        """The gateway's base URL."""
        return f"http://{LOOPBACK}:{self.envoy_port}"

    @property
    def console(self) -> str:
        """The console's URL, for a browser; without a slash at its end, so that a path can follow."""
        return f"http://{LOOPBACK}:{self.console_port}"


@final
@attrs.frozen
class DemoSetup:
    """The scenarios of a demo and what they need.

    Attributes:
        scenarios: All of them; the first is one request, whose success means that everything is up.
        policies: The policy files, by name.
        profiles: The issuer profiles, which contain credentials.
        token: Returns the token of a subject.
        target: Returns what the scenarios run against.
        token_port: Port of the demo's own token endpoint, 0 without one.
        grants: What each team may do, "" without limits.
        verify: Verifies tokens by their issuer's keys; ``None`` without keys.
        remark: A sentence about the subject tokens, for users who copy them.
        renewal: A shell command that sets ``TOKEN`` to a new one, "" if tokens outlive the demo.
    """

    scenarios: tuple[Scenario, ...]
    policies: Mapping[str, str] = attrs.field(repr=False)
    profiles: tuple[Mapping[str, object], ...] = attrs.field(repr=False)
    token: Callable[[Subject], str] = attrs.field(repr=False)
    target: Callable[[DemoPorts], ScenarioTarget] = attrs.field(repr=False)
    token_port: int = 0
    grants: str = attrs.field(default="", repr=False)
    verify: Verify | None = attrs.field(default=None, repr=False)
    remark: str = "the tokens are unsigned and work nowhere else"
    renewal: str = attrs.field(default="", repr=False)

    @property
    def readiness(self) -> OneRequest | LooseRequest:
        """The scenario whose success means that everything is up."""
        first = self.scenarios[0]
        if not isinstance(first, OneRequest | LooseRequest):
            raise TypeError("the first scenario tells readiness, and has to be one request")
        return first

    @property
    def issuer_names(self) -> frozenset[str]:
        """The names of the issuer profiles, which policies refer to."""
        return frozenset(str(profile["name"]) for profile in self.profiles)

    def subjects(self) -> Subjects:
        """Return the two tokens that people are shown."""
        return Subjects(self.token(Subject.VALID), self.token(Subject.EXPIRED))


def own_setup(token_port: int, chat_port: int) -> DemoSetup:
    """Return the setup that needs nothing else: the demo's issuers on these ports, of which the first one accepts any token of the demo."""
    return DemoSetup(
        scenarios=SCENARIOS,
        policies={file.name: file.read_text("utf-8") for file in (*sample_policy(), *wrong_policy(), violet_policy())},
        profiles=(*own_issuers(token_port), *violet_issuers(token_port, chat_port)),
        token=make_subjects().token,
        target=demo_target,
        token_port=token_port,
        grants=sample_grants(),
    )


def demo_target(ports: DemoPorts) -> ScenarioTarget:
    """Return a running demo as a target, where everything can be seen and changed."""
    return ScenarioTarget(
        gateway=Gateway(LOOPBACK, ports.envoy_port),
        subjects=ports.subjects.token,
        made=UNSIGNED_SUBJECTS,
        fresh=make_subjects,
        stats=(LOOPBACK, ports.token_port),
        policy=ports.policy,
        grants=True,
    )


async def started_on(nursery: trio.Nursery, server: Callable[..., Awaitable[object]], port: int) -> int:
    """Start ``server`` in ``nursery``, and return its port: ``port``, or the one that it chose if that is 0.

    Raises:
        DemoError: the port cannot be used
    """
    try:
        started: int = await nursery.start(server)
    except OSError as error:
        raise DemoError(f"port {port} on {LOOPBACK} cannot be used: {error.strerror}") from error
    return started


async def hold_ports(count: int, *, task_status: trio.TaskStatus[tuple[int, ...]]) -> None:
    """Find ``count`` different loopback ports that are free; ``started()`` has them. Run in a nursery of those who listen on them.

    On Linux, the system gives them to no other socket until this is cancelled: a socket here stays bound to each and does not listen.
    A process that knows the port can listen on it nevertheless, with SO_REUSEADDR, which servers set. Elsewhere that would keep them out,
    too.
    """
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) for _ in range(count)]
        for bound in taken:
            bound.bind((LOOPBACK, 0))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # not before: with it, the system may choose a port that is held
        ports = tuple(int(bound.getsockname()[1]) for bound in taken)
        if sys.platform != "linux":
            stack.close()
        task_status.started(ports)
        await trio.sleep_forever()
