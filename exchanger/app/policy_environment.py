"""Reads the variables about the source of policies, their selection, and what their namespaces may do."""

from pathlib import Path
from typing import Final

import attrs

from exchanger.app.environment import Environment
from exchanger.app.grants_file import GrantsSettings
from exchanger.app.variable_names import Notes
from exchanger.model.selector import Selector, parse_selector
from exchanger.policy.limits import NamespaceLimits
from exchanger.sources.directory.source import DirectorySettings
from exchanger.sources.kube.namespaces_file import read_namespaces
from exchanger.sources.kube.settings import KubernetesSettings, parse_namespaces
from exchanger.util.duration import parse_duration
from exchanger.util.regular_file import UnusableFile
from exchanger.util.shown import shown_file

_POLICY_LABEL: Final = "ext-authz-token-exchange.magneticflux.net/enabled=true"
_NAMESPACE_LABEL: Final = "ext-authz-token-exchange.magneticflux.net/policy=enabled"
# What one namespace may have.
LIMIT_VARIABLES: Final = ("POLICY_MAX_ENTRIES", "POLICY_MAX_FAIL_CLOSED_SCOPES", "POLICY_MAX_DOCUMENTS", "POLICY_MAX_SIZE_KIB")


def read_policy(environment: Environment) -> DirectorySettings | KubernetesSettings:
    """Read the source of policies, and their selection."""
    source = environment.choice("POLICY_SOURCE", ["kubernetes", "directory"], "kubernetes")
    namespaces = _selector(environment, "CONFIGMAP_NAMESPACE_SELECTOR", _NAMESPACE_LABEL)
    config_maps = _selector(environment, "CONFIGMAP_LABEL_SELECTOR", _POLICY_LABEL)
    kubernetes = KubernetesSettings(
        namespace_selector=namespaces,
        configmap_selector=config_maps,
        namespaces=_namespaces(environment),
        namespaces_file=environment.path("POLICY_NAMESPACES_FILE"),
        max_staleness=environment.read("POLICY_MAX_STALENESS", parse_duration, 0.0, with_length=True),
    )
    path = environment.path("POLICY_DIRECTORY")
    if source == "kubernetes":
        return kubernetes
    if path is None:
        environment.problem("POLICY_DIRECTORY is required with POLICY_SOURCE=directory")
    elif not path.is_dir():
        environment.problem(f"POLICY_DIRECTORY {shown_file(path)} is not a folder")
    return DirectorySettings(path=path or Path(), namespace_selector=namespaces, configmap_selector=config_maps)


def read_grants_settings(environment: Environment, *, has_labels: bool) -> GrantsSettings:
    """Read the grants. An unusable file never means that everything is granted."""
    mode = environment.choice("POLICY_GRANTS_MODE", ["enforce", "report"], "enforce")
    path = environment.path("POLICY_GRANTS_FILE")
    limits = NamespaceLimits(*map(environment.count, LIMIT_VARIABLES, attrs.astuple(NamespaceLimits())))
    settings = GrantsSettings(path, enforced=mode == "enforce", has_labels=has_labels, limits=limits)
    if path is None:
        return settings
    try:
        return settings.loaded()
    except ValueError as error:
        environment.problem(f"POLICY_GRANTS_FILE {shown_file(path)} {error}")
        return settings


def policy_notes(environment: Environment, policy: DirectorySettings | KubernetesSettings) -> Notes:
    """Return the variables without effect: those of another source than ``policy``, and those of grants without grants."""
    return (*_of_another_source(environment, policy), *_without_grants(environment))


def _namespaces(environment: Environment) -> tuple[str, ...]:
    """Return the Namespaces named by either variable. An unusable file never means all Namespaces."""
    names: tuple[str, ...] = environment.read("POLICY_NAMESPACES", parse_namespaces, ())
    path = environment.path("POLICY_NAMESPACES_FILE")
    if path is None:
        return names
    if environment.text("POLICY_NAMESPACES"):
        environment.problem("POLICY_NAMESPACES and POLICY_NAMESPACES_FILE are both set; set one of them")
    found = read_namespaces(path)
    if isinstance(found, UnusableFile):
        environment.problem(f"POLICY_NAMESPACES_FILE {shown_file(path)} {found.reason}")
        return ()
    return found


def _selector(environment: Environment, name: str, default: str) -> Selector:
    def parse(text: str) -> Selector:
        try:
            return parse_selector(text)
        except ValueError:  # which repeats parts of the text
            raise ValueError("is not a label selector such as tier=web,team in (a,b)") from None

    return environment.read(name, parse, parse_selector(default), with_length=True)


def _of_another_source(environment: Environment, policy: DirectorySettings | KubernetesSettings) -> Notes:
    names = {"directory": ["POLICY_DIRECTORY"], "kubernetes": ["POLICY_NAMESPACES", "POLICY_NAMESPACES_FILE", "POLICY_MAX_STALENESS"]}
    other = "directory" if isinstance(policy, KubernetesSettings) else "kubernetes"
    return tuple((name, f"it applies only to POLICY_SOURCE={other}") for name in names[other] if environment.text(name))


def _without_grants(environment: Environment) -> Notes:
    given = environment.text("POLICY_GRANTS_MODE") and not environment.text("POLICY_GRANTS_FILE")
    return (("POLICY_GRANTS_MODE", "there are no grants, since POLICY_GRANTS_FILE is not set"),) if given else ()
