"""``exchanger status``: settings from the environment, one look at the cluster or the folder, an exit status.

0: everything is healthy. 1: there are problems or probable mistakes. 2: unknown, because of no API server, a missing right, or a wrong
setting. Nothing is watched and nothing is changed.
"""

import os
import sys
from collections.abc import Mapping
from functools import partial
from typing import Final, TextIO
from urllib.parse import urlsplit

import attrs

from exchanger.app.settings import Settings, known_variables
from exchanger.app.variable_names import variable_notices
from exchanger.commands.offline.inputs import CLUSTER_VARIABLES, PolicyInputs, connect_to, names_of
from exchanger.commands.offline.rules import PolicyRules
from exchanger.commands.status.display import Header, as_json, as_text
from exchanger.commands.status.options import StatusOptions
from exchanger.commands.status.running import NoAnswerError, look_at_service
from exchanger.commands.status.survey import Survey, survey, survey_folder
from exchanger.commands.tables import Screen
from exchanger.model.errors import ConfigurationError
from exchanger.net.network import SYSTEM
from exchanger.sources.directory.source import DirectorySettings, FolderError
from exchanger.sources.kube.api.access import ClusterError
from exchanger.sources.kube.api.connection import ApiConnection
from exchanger.sources.kube.api.resource import PolicyListWatches
from exchanger.sources.kube.listing import Unanswered

HEALTHY: Final = 0
PROBLEMS: Final = 1
NO_TELLING: Final = 2

_SOURCE: Final = "POLICY_SOURCE"
_DIRECTORY: Final = "POLICY_DIRECTORY"


async def run_status(options: StatusOptions, variables: Mapping[str, str] | None = None, out: TextIO | None = None) -> int:
    """Print what the service would see, to ``out`` (default: standard output), and return the exit status.

    Errors go to standard error, one sentence each; ``variables`` are the environment by default.
    """
    environment, stream = os.environ if variables is None else variables, out or sys.stdout
    try:
        if options.service:
            running = await look_at_service(options.service)
            stream.write(running.as_json(options.service) if options.json else running.as_text(options.service))
            return HEALTHY if running.healthy else PROBLEMS
        header, found = await _surveyed(options, environment)
    except ConfigurationError as error:
        for problem in error.problems:
            sys.stderr.write(f"exchanger status: {problem}\n")
        return NO_TELLING
    except (FolderError, NoAnswerError) as error:
        sys.stderr.write(f"exchanger status: {error}\n")
        return NO_TELLING
    stream.write(as_json(header, found) if options.json else as_text(header, found, Screen.on(stream, environment)))
    return HEALTHY if found.healthy else PROBLEMS


async def _surveyed(options: StatusOptions, environment: Mapping[str, str]) -> tuple[Header, Survey]:
    inputs = PolicyInputs(options.issuers, options.grants).or_profiles_of(environment)
    settings = await SYSTEM.run_sync(_settings, environment, options, inputs, abandon_on_cancel=True)
    profiles = await SYSTEM.run_sync(inputs.profiles, abandon_on_cancel=True)
    policy, names, notices = settings.policy, names_of(profiles), variable_notices(environment, known_variables())
    rules, file = PolicyRules.of(settings, names), "" if inputs.issuers is None else str(inputs.issuers)
    header = Header("", None if profiles is None else tuple(sorted(names)), file, settings.grants)
    if isinstance(policy, DirectorySettings):
        look = partial(survey_folder, policy, rules, notices)
        return attrs.evolve(header, place=str(policy.path), kind="folder"), await SYSTEM.run_sync(look, abandon_on_cancel=True)
    async with connect_to(options.kubeconfig, options.context or settings.kube_context, environment) as connection:
        header = attrs.evolve(header, place=await _address(connection))
        found = await survey(PolicyListWatches(connection), policy, rules, notices)
    if isinstance(found, Unanswered):
        raise ClusterError(f"{header.place}: {found.reason}")
    return header, found


def _settings(environment: Mapping[str, str], options: StatusOptions, inputs: PolicyInputs) -> Settings:
    """Read the variables that matter here as the service does, and options in the place of theirs. Blocks while files are read.

    Raises:
        ConfigurationError: something is invalid, or a file cannot be used.
    """
    instead: dict[str, str] = {}
    if options.directory is not None:
        if not options.directory.is_dir():
            raise ConfigurationError((f"--directory {options.directory} is not a folder",))
        instead = {_SOURCE: "directory", _DIRECTORY: str(options.directory)}
    elif options.kubeconfig or options.context:
        instead = {_SOURCE: "kubernetes"}
    return inputs.settings({**environment, **instead}, (_SOURCE, _DIRECTORY, *CLUSTER_VARIABLES))


async def _address(connection: ApiConnection) -> str:
    """Return the server's address without credentials."""
    access, _ = await SYSTEM.run_sync(connection.credentials.present, abandon_on_cancel=True)  # in a thread, as a plugin may be asked
    parts = urlsplit(access.url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
