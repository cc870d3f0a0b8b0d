"""``exchanger serve``: reads the environment, runs the service or only checks the configuration, and returns the exit status."""

import os
import sys
import traceback
from collections.abc import Iterable
from typing import Final

import attrs
import structlog
import trio

from exchanger.app import descriptors
from exchanger.app.settings import read_settings
from exchanger.app.supervisor import Supervisor
from exchanger.exchange.issuers.profiles_file import check_references
from exchanger.model.errors import ConfigurationError, ExchangerError, leaves
from exchanger.operations.telemetry.log import logging_to_stdout
from exchanger.sources.directory.source import DirectorySettings

USAGE_ERROR: Final = 2
FAILED: Final = 1
# Innermost stack frames in the log line of a fault.
_FRAMES: Final = 8


def serve(*, console_shows_tokens: bool = False) -> int:
    """Serve until a signal arrives; return the exit status. See ``Supervisor`` for ``console_shows_tokens``."""
    try:
        settings = read_settings(os.environ)
    except ConfigurationError as error:
        return _refused("exchanger cannot start:", error.problems)
    limit = descriptors.raise_limit()
    room, http_authz = descriptors.for_callers(limit), settings.http_authz
    if http_authz is not None:  # at most half of the room
        http_authz = attrs.evolve(http_authz, max_connections=min(http_authz.max_connections, max(1, room // 2)))
        room = max(1, room - http_authz.max_connections)
    settings = attrs.evolve(
        settings,
        grpc=attrs.evolve(settings.grpc, max_connections=min(settings.grpc.max_connections, room)),
        http_authz=http_authz,
        token_client=attrs.evolve(settings.token_client, max_quarantined_connections=descriptors.for_quarantined(limit)),
    )
    with logging_to_stdout(settings.log) as logging:
        try:
            trio.run(Supervisor(settings, logging, console_shows_tokens=console_shows_tokens).run)
        except BaseException as fault:  # noqa: BLE001 - the outermost handler: it logs the fault and ends the process
            return report_fault(fault)
    return 0


def check_config() -> int:
    """Read the environment and every file that it names, print what is wrong or has no effect, and return the exit status: 2 for either.

    Nothing is contacted and no port is bound, so it may run beside the service, with the environment of the next version.
    """
    try:
        settings = read_settings(os.environ)
    except ConfigurationError as error:
        return _refused("exchanger would not start:", error.problems)
    profiles = settings.issuers
    missing = () if profiles.path is None else check_references(profiles.path, profiles.rules)
    ignored = tuple(f"{variable} has no effect: {text}" for variable, text in settings.without_effect)
    if missing or ignored:
        for heading, problems in (("exchanger would start, and wait for:", missing), ("exchanger would start, and ignore:", ignored)):
            if problems:
                _refused(heading, problems)
        return USAGE_ERROR
    untried = "ports" if isinstance(settings.policy, DirectorySettings) else "ports, the API server, its Secrets"
    sys.stdout.write(f"the configuration is valid; {untried} and token endpoints were not tried\n")
    return 0


def _refused(heading: str, problems: Iterable[str]) -> int:
    sys.stderr.write("".join((f"{heading}\n", *(f"  - {problem}\n" for problem in problems))))
    return USAGE_ERROR


def report_fault(fault: BaseException) -> int:
    """Log why the process ends, and return its exit status.

    For faults that we did not raise on purpose, only type and place are logged: the message may contain request data.
    """
    log = structlog.get_logger()
    faults = leaves(fault)
    for leaf in faults:
        if isinstance(leaf, ExchangerError):
            log.error("service.failed", error=str(leaf))
        else:
            frames = traceback.extract_tb(leaf.__traceback__)[-_FRAMES:]
            place = [f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
            log.error("service.failed", error=type(leaf).__qualname__, place=place)
    return USAGE_ERROR if all(isinstance(leaf, ConfigurationError) for leaf in faults) else FAILED
