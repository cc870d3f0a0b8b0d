"""``exchanger status``: settings from the environment, one look at the cluster or the folder, an exit status.

0: everything is healthy. 1: there are problems or probable mistakes. 2: unknown, because of no API server, a missing right, or a wrong
setting. Nothing is watched and nothing is changed.
"""

import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final, TextIO, final
from urllib.parse import urlsplit

import attrs

from exchanger.app.grants_file import GrantsSettings
from exchanger.app.policy_environment import LIMIT_VARIABLES
from exchanger.app.settings import known_variables, read_settings
from exchanger.app.variable_names import variable_notices
from exchanger.directory.source import DirectorySettings, FolderError
from exchanger.errors import ConfigurationError
from exchanger.issuers.profiles import parse_profiles, read_bytes
from exchanger.kube.api.access import ClusterError
from exchanger.kube.api.connection import ApiConnection
from exchanger.kube.api.resource import PolicyListWatches
from exchanger.kube.listing import Unanswered
from exchanger.kube.settings import KubernetesSettings
from exchanger.net.network import SYSTEM
from exchanger.policy.selection import AnyIssuer
from exchanger.status.display import Header, as_json, as_text
from exchanger.status.options import StatusOptions
from exchanger.status.running import NoAnswerError, look_at_service
from exchanger.status.survey import Survey, survey, survey_folder
from exchanger.util.tables import Screen
from exchanger.values.notice import Notice

HEALTHY: Final = 0
PROBLEMS: Final = 1
NO_TELLING: Final = 2

_GRANTS_FILE: Final = "POLICY_GRANTS_FILE"
_SOURCE: Final = "POLICY_SOURCE"
_DIRECTORY: Final = "POLICY_DIRECTORY"
# The variables of the service that concern its policies; the others are not needed here.
_VARIABLES: Final = (
    *(_SOURCE, _DIRECTORY),
    *("CONFIGMAP_NAMESPACE_SELECTOR", "CONFIGMAP_LABEL_SELECTOR"),
    *("POLICY_NAMESPACES", "POLICY_NAMESPACES_FILE", "KUBE_CONTEXT"),
    *(_GRANTS_FILE, "POLICY_GRANTS_MODE", *LIMIT_VARIABLES),
)
_PROFILES_FILE: Final = "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE"


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
    settings = await SYSTEM.run_sync(_settings, environment, options, abandon_on_cancel=True)
    path = options.issuers or _path(environment.get(_PROFILES_FILE, "").strip())
    profiles = None if path is None else await SYSTEM.run_sync(_profile_names, path, abandon_on_cancel=True)
    issuers = AnyIssuer() if profiles is None else frozenset(profiles)
    notices = variable_notices(environment, known_variables())
    policy, header = settings.policy, Header("", profiles, "" if path is None else str(path), settings.grants)
    if isinstance(policy, DirectorySettings):
        look = partial(survey_folder, policy, issuers, notices, settings.grants.grants)
        return attrs.evolve(header, place=str(policy.path), kind="folder"), await SYSTEM.run_sync(look, abandon_on_cancel=True)
    options = attrs.evolve(options, context=options.context or settings.context)
    return await _survey_cluster(options, environment, policy, header, issuers, notices)


async def _survey_cluster(
    options: StatusOptions,
    environment: Mapping[str, str],
    policy: KubernetesSettings,
    header: Header,
    issuers: frozenset[str],
    notices: tuple[Notice, ...],
) -> tuple[Header, Survey]:
    """Return the header with the server's address, and what was found.

    Raises:
        ClusterError: the cluster cannot be read.
    """
    from exchanger.kube.api.client import ClusterConfigSource, connect

    # An explicit file counts even inside a pod.
    where = {"token_file": os.devnull} if options.kubeconfig else {}
    origin = ClusterConfigSource(kubeconfig=options.kubeconfig, context=options.context, environment=environment, **where)
    async with connect(origin) as connection:
        header = attrs.evolve(header, place=await _address(connection))
        found = await survey(PolicyListWatches(connection), policy, issuers, notices, header.grants.grants)
    if isinstance(found, Unanswered):
        raise ClusterError(f"{header.place}: {found.reason}")
    return header, found


@final
@attrs.frozen
class _Settings:
    policy: KubernetesSettings | DirectorySettings
    context: str
    grants: GrantsSettings


def _settings(environment: Mapping[str, str], options: StatusOptions) -> _Settings:
    """Read the variables that matter here as the service does, and options in the place of theirs. Blocks while files are read.

    Raises:
        ConfigurationError: something is invalid, or a file cannot be used.
    """
    grants = options.grants
    given = {name: environment[name] for name in _VARIABLES if name in environment and (grants is None or name != _GRANTS_FILE)}
    if options.directory is not None:
        if not options.directory.is_dir():
            raise ConfigurationError((f"--directory {options.directory} is not a folder",))
        given |= {_SOURCE: "directory", _DIRECTORY: str(options.directory)}
    elif options.kubeconfig or options.context:
        given[_SOURCE] = "kubernetes"
    settings = read_settings(given)
    found = settings.grants
    if grants is not None:
        try:
            found = attrs.evolve(found, path=grants).loaded()
        except ValueError as error:
            raise ConfigurationError((f"{grants} {error}",)) from None
    return _Settings(settings.policy, settings.kube_context, found)


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _profile_names(path: Path) -> tuple[str, ...]:
    """Return the names in a profiles file; blocks while it is read.

    Raises:
        ConfigurationError: it cannot be read, or is no such file.
    """
    data = read_bytes(path)
    if isinstance(data, str):
        raise ConfigurationError((data,))
    profiles, problems = parse_profiles(data, str(path))
    if problems:
        raise ConfigurationError(problems)
    return tuple(sorted({profile.name for profile in profiles}))


async def _address(connection: ApiConnection) -> str:
    """Return the server's address without credentials."""
    access, _ = await SYSTEM.run_sync(connection.credentials.present, abandon_on_cancel=True)  # in a thread, as a plugin may be asked
    parts = urlsplit(access.url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
