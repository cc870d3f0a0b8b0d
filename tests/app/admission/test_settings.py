"""The webhook's settings: its own, and those of the service that it shares."""

from pathlib import Path

import pytest
import trustme

from exchanger.app.admission.process import run_admission
from exchanger.app.admission.settings import PORT, SHARED, read_admission_settings
from exchanger.app.settings import known_variables
from exchanger.model.errors import ConfigurationError


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """The least that it needs."""
    issued = trustme.CA().issue_cert("h")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    issued.private_key_pem.write_to_path(tmp_path / "tls.key")
    return {"ADMISSION_TLS_CERT_FILE": str(tmp_path / "tls.crt"), "ADMISSION_TLS_KEY_FILE": str(tmp_path / "tls.key")}


def problems(variables: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as found:
        read_admission_settings(variables)
    return found.value.problems


def test_the_defaults(variables: dict[str, str]) -> None:
    settings = read_admission_settings(variables)
    assert (settings.tls.port, settings.host, settings.tls.protocols) == (PORT, None, ("http/1.1",))
    assert (settings.issuers.path, settings.grants.path, settings.without_effect) == (None, None, ())
    assert str(settings.policy.configmap_selector) == "ext-authz-token-exchange.magneticflux.net/enabled in (true)"


def test_what_the_service_shares_is_read_as_by_the_service(variables: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "grants.yaml").write_text("{version: v1, grants: []}")
    (tmp_path / "issuers.yaml").write_text("issuers: [{name: a, tokenEndpoint: http://h/t, clientID: a, clientSecret: b}]")
    shared = {
        "CONFIGMAP_LABEL_SELECTOR": "a=b",
        "POLICY_NAMESPACES": "x,y",
        "POLICY_GRANTS_FILE": str(tmp_path / "grants.yaml"),
        "POLICY_GRANTS_MODE": "report",
        "POLICY_MAX_STALENESS": "1m",
        "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": str(tmp_path / "issuers.yaml"),
        "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true",
        "SHUTDOWN_GRACE_PERIOD": "3s",
        "GRPC_PORT": "nonsense that is not for this process",
    }
    settings = read_admission_settings({**variables, **shared, "ADMISSION_PORT": "0", "ADMISSION_HOST": "127.0.0.1"})
    assert (settings.tls.port, settings.host, settings.shutdown_grace) == (0, "127.0.0.1", 3.0)
    assert (settings.policy.namespaces, settings.policy.max_staleness) == (("x", "y"), 0.0)
    assert (settings.grants.grants.limited, settings.grants.grants.enforced) == (True, False)
    assert settings.issuers.rules.allow_http
    assert known_variables() >= set(SHARED)


def test_every_problem_is_said_at_once(variables: dict[str, str], tmp_path: Path) -> None:
    given = {
        **variables,
        "ADMISSION_PORT": "70000",
        "POLICY_SOURCE": "directory",
        "CONFIGMAP_LABEL_SELECTOR": "=",
        "POLICY_GRANTS_FILE": str(tmp_path / "none"),
    }
    said = "\n".join(problems(given))
    assert said.startswith("ADMISSION_PORT must be a port, 0 to 65535")
    assert said.splitlines()[1] == "POLICY_SOURCE must be kubernetes: the webhook checks ConfigMaps of a cluster"
    assert "CONFIGMAP_LABEL_SELECTOR is not a label selector" in said
    assert "POLICY_GRANTS_FILE" in said


def test_tls_is_required_and_its_files_are_looked_at(variables: dict[str, str], tmp_path: Path) -> None:
    required = "ADMISSION_TLS_CERT_FILE and ADMISSION_TLS_KEY_FILE are required: API servers call webhooks over TLS only"
    assert problems({}) == (required,)
    assert problems({**variables, "ADMISSION_TLS_KEY_FILE": " "}) == (required,)
    (tmp_path / "tls.key").write_text("canary")
    (said,) = problems(variables)
    assert said.startswith("ADMISSION_TLS_CERT_FILE, ADMISSION_TLS_KEY_FILE: the key in")
    assert "canary" not in said


def test_a_misspelt_variable_is_noticed_and_those_of_the_service_are_none(variables: dict[str, str]) -> None:
    settings = read_admission_settings({**variables, "ADMISSION_PROT": "1", "GRPC_PORT": "3001", "ADMISSION_HOST": ""})
    assert [name for name, _ in settings.without_effect] == ["ADMISSION_HOST", "ADMISSION_PROT"]


def test_without_settings_the_process_does_not_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_admission({}) == 2
    assert capsys.readouterr().err.startswith("exchanger admission cannot start:\n  - ADMISSION_TLS_CERT_FILE and")


def test_without_a_cluster_the_process_ends(variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert run_admission(variables) == 2
