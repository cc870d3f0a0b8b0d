"""The webhook's settings: its own variables, and those of the service that define the policy.

Those of the service are read as the service reads them, so that both select, know and grant the same.
"""

from collections.abc import Mapping
from typing import Final, final

import attrs

from exchanger.app.environment import Environment
from exchanger.app.grants_file import GrantsSettings
from exchanger.app.policy_environment import LIMIT_VARIABLES
from exchanger.app.settings import known_variables, read_settings
from exchanger.app.variable_names import Notes
from exchanger.exchange.issuers.source import IssuerSettings
from exchanger.model.errors import ConfigurationError
from exchanger.net.tls.certificates import check_files
from exchanger.net.tls.settings import TlsSettings
from exchanger.operations.telemetry.log import LogSettings
from exchanger.sources.kube.settings import KubernetesSettings

# The usual port of webhooks; those below 1024 are not for processes without rights.
PORT: Final = 8443
_CERT_FILE: Final = "ADMISSION_TLS_CERT_FILE"
_KEY_FILE: Final = "ADMISSION_TLS_KEY_FILE"
# The variables of the service that matter here too; the others may be set and are ignored.
SHARED: Final = (
    *("CONFIGMAP_LABEL_SELECTOR", "CONFIGMAP_NAMESPACE_SELECTOR", "KUBE_CONTEXT", "POLICY_NAMESPACES", "POLICY_NAMESPACES_FILE"),
    *("POLICY_GRANTS_FILE", "POLICY_GRANTS_MODE", *LIMIT_VARIABLES, "POD_NAMESPACE", "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE"),
    *("TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT", "TOKEN_ENDPOINT_AUTH_METHOD", "LOG_FORMAT", "LOG_LEVEL", "SHUTDOWN_GRACE_PERIOD"),
)


@final
@attrs.frozen
class AdmissionSettings:
    """The settings of ``exchanger admission``. ``without_effect``: variables that are set without effect, each with the reason."""

    tls: TlsSettings
    policy: KubernetesSettings
    grants: GrantsSettings
    issuers: IssuerSettings
    log: LogSettings
    shutdown_grace: float
    host: str | None = None
    kube_context: str = ""
    without_effect: Notes = ()


def read_admission_settings(variables: Mapping[str, str]) -> AdmissionSettings:
    """Read the whole configuration of ``exchanger admission``. Blocks while files are read.

    Raises:
        ConfigurationError: with every problem found.
    """
    environment = Environment(variables)
    host, port = environment.text("ADMISSION_HOST"), environment.port("ADMISSION_PORT", PORT)
    cert_file, key_file = environment.path(_CERT_FILE), environment.path(_KEY_FILE)
    tls = None
    if cert_file is None or key_file is None:
        environment.problem(f"{_CERT_FILE} and {_KEY_FILE} are required: API servers call webhooks over TLS only")
    else:
        # The API server speaks HTTP/1.1 with webhooks, so that its requests are spread over their pods.
        tls = TlsSettings(port=port, cert_file=cert_file, key_file=key_file, protocols=("http/1.1",))
        if (problem := check_files(tls)) is not None:
            environment.problem(f"{_CERT_FILE}, {_KEY_FILE}: {problem}")
    if environment.choice("POLICY_SOURCE", ["kubernetes", "directory"], "kubernetes") != "kubernetes":
        environment.problem("POLICY_SOURCE must be kubernetes: the webhook checks ConfigMaps of a cluster")
    try:
        shared = read_settings({name: variables[name] for name in SHARED if name in variables})
    except ConfigurationError as error:
        raise ConfigurationError((*environment.problems(), *error.problems)) from None
    problems = environment.problems()
    if problems or tls is None or not isinstance(shared.policy, KubernetesSettings):
        raise ConfigurationError(problems)
    return AdmissionSettings(
        tls=tls,
        # An API server that cannot be followed cannot send requests either.
        policy=attrs.evolve(shared.policy, max_staleness=0.0),
        grants=shared.grants,
        issuers=shared.issuers,
        log=shared.log,
        shutdown_grace=shared.shutdown_grace,
        host=host or None,
        kube_context=shared.kube_context,
        without_effect=tuple(note for note in environment.notes() if note[0] not in known_variables()),
    )
