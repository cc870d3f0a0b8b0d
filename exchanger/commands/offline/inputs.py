"""The variables and files of a service, read by a command: those that concern policy, with the files that options name in their place."""

import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, final

import attrs

from exchanger.app.policy_environment import LIMIT_VARIABLES
from exchanger.app.settings import Settings, read_settings
from exchanger.exchange.issuers.profile_model import IssuerProfile
from exchanger.exchange.issuers.profiles import parse_profiles, read_bytes
from exchanger.model.errors import ConfigurationError
from exchanger.policy.selection import AnyIssuer
from exchanger.sources.kube.api.connection import ApiConnection

# What selects policy, and limits what a namespace may have.
SELECTION_VARIABLES: Final = ("CONFIGMAP_NAMESPACE_SELECTOR", "CONFIGMAP_LABEL_SELECTOR", "POLICY_GRANTS_MODE", *LIMIT_VARIABLES)
GRANTS_FILE: Final = "POLICY_GRANTS_FILE"
# What decides which cluster is read, and what of it.
CLUSTER_VARIABLES: Final = ("POLICY_NAMESPACES", "POLICY_NAMESPACES_FILE", "KUBE_CONTEXT", GRANTS_FILE)
_PROFILES_FILE: Final = "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE"


@final
@attrs.frozen
class PolicyInputs:
    """Files with issuer profiles and grants; ``None``: every issuer is known, and there are no grants."""

    issuers: Path | None = None
    grants: Path | None = None

    def or_profiles_of(self, variables: Mapping[str, str]) -> "PolicyInputs":
        """Return the inputs with the profiles file that ``variables`` name, unless there is one."""
        named = variables.get(_PROFILES_FILE, "").strip()
        return attrs.evolve(self, issuers=Path(named)) if named and self.issuers is None else self

    def settings(self, variables: Mapping[str, str], names: Iterable[str]) -> Settings:
        """Return the service's settings from those ``variables`` that select policy, and those of ``names``. Blocks while files are read.

        Raises:
            ConfigurationError: a variable is invalid, or the grants file cannot be used.
        """
        given = {name: variables[name] for name in (*SELECTION_VARIABLES, *names) if name in variables}
        if self.grants is None:
            return read_settings(given)
        settings = read_settings({name: value for name, value in given.items() if name != GRANTS_FILE})
        try:
            return attrs.evolve(settings, grants=attrs.evolve(settings.grants, path=self.grants).loaded())
        except ValueError as error:
            raise ConfigurationError((f"{self.grants} {error}",)) from None

    def profiles(self) -> tuple[IssuerProfile, ...] | None:
        """Return the issuer profiles as written, ``None`` without a file. Blocks while it is read.

        Raises:
            ConfigurationError: it cannot be read, or has a problem.
        """
        if self.issuers is None:
            return None
        data = read_bytes(self.issuers)
        if isinstance(data, str):
            raise ConfigurationError((data,))
        profiles, problems = parse_profiles(data, str(self.issuers))
        if problems:
            raise ConfigurationError(problems)
        return profiles


def names_of(profiles: tuple[IssuerProfile, ...] | None) -> frozenset[str]:
    """Return the names that entries may refer to: every name if the profiles are not known."""
    return AnyIssuer() if profiles is None else frozenset(profile.name for profile in profiles)


def connect_to(kubeconfig: str, context: str, variables: Mapping[str, str]) -> AbstractAsyncContextManager[ApiConnection]:
    """Connect to the cluster that options or ``variables`` name; "" for no option.

    Raises:
        ClusterError: on entering, it is unknown or cannot be reached.
    """
    from exchanger.sources.kube.api.client import ClusterConfigSource, connect  # the library takes long to import

    # An explicit file counts even inside a pod.
    where = {"token_file": os.devnull} if kubeconfig else {}
    return connect(ClusterConfigSource(kubeconfig=kubeconfig, context=context, environment=variables, **where))
