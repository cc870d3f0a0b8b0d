"""What docs/how-to/move-from-go.md says of this service in *What behaves differently* is so."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml

from exchanger.app.settings import read_settings
from exchanger.authz.decision.outcome import DecisionReason
from exchanger.model.entry import DenyEntry, ExchangeEntry, Source
from exchanger.model.errors import ConfigurationError
from exchanger.model.policy_decision import Ambiguous, NoMatch
from exchanger.policy.documents.document import parse_document
from exchanger.policy.snapshot import PolicySnapshot
from tests.property.strategies_policy import snapshot_of
from tests.test_go_parts import PAGE, ROOT

TEXT: Final = PAGE.read_text()
# The values of the label ``decision`` in 0.6.
DECISIONS: Final = {
    *("missing_http_attributes", "allow_unmatched", "deny_unmatched_default", "deny_policy_unhealthy", "deny_explicit_policy"),
    *("allow_options_bypass", "deny_missing_bearer", "deny_exchange_error", "allow_exchange"),
}
POLICY: Final = """
version: v1
entries:
- {match: {host: api.example.com., pathPrefix: /orders}, action: exchange, exchange: {issuerRef: idp, scope: read}}
- {match: {host: api.example.com, pathPrefix: /orders/admin}, action: deny}
"""


def section(title: str) -> str:
    """Return what stands below a heading of the page."""
    marks, name = title.split(" ", 1)
    found = re.search(rf"(?ms)^{marks} {re.escape(name)}\n(.*?)(?=^#{{1,{len(marks)}}} |\Z)", TEXT)
    assert found is not None, title
    return found[1]


def names(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)`", text))


def policy() -> PolicySnapshot:
    return snapshot_of([parse_document(Source("team", "policy"), POLICY, frozenset({"idp"}))])


def test_each_difference_says_what_both_services_do() -> None:
    tables = section("## What behaves differently") + section("## Values of the chart")
    rows = [re.split(r"(?<!\\) \| ", line) for line in tables.splitlines() if line.startswith("| ")]
    assert [row for row in rows if len(row) != 3 or not all(cell.strip("| ") for cell in row)] == []
    assert len(rows) > 90


# Requests


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize(
    ("target", "decision"),
    [
        *((target, Ambiguous) for target in ("/orders#a", "/other#a", "/orders?a=#", "/or ders", "/orders/a b", "/other?a= b")),
        *((target, Ambiguous) for target in ("/orders\\admin", "\\orders", "/orders%252Fadmin", "/orders;v=1/admin", "/orders/;v=1/admin")),
        *((target, ExchangeEntry) for target in ("/orders/list;v=1", "/orders/a%252Fb", "/orders/a\\b", "/orders")),
        *((target, NoMatch) for target in ("/other;v=1", "/other%252Fa", "/other\\a")),
        ("/orders/admin/list;v=1", DenyEntry),
    ],
)
def test_requests_that_servers_may_read_differently(target: str, decision: type, raw: bool) -> None:
    assert type(policy().match("api.example.com", target, "GET", raw=raw)) is decision
    assert type(policy().match("without-policy.example.com", target, "GET", raw=raw)) is NoMatch


# Policies


@pytest.mark.parametrize("host", ["api.example.com", "api.example.com."])
def test_a_host_with_one_trailing_dot_takes_effect_for_both_spellings(host: str) -> None:
    assert type(policy().match(host, "/orders", "GET")) is ExchangeEntry


@pytest.mark.parametrize(
    ("match", "exchange", "prefix"),
    [
        ("pathPrefix: 2024", "scope: read", ""),
        ("pathPrefix: true", "scope: read", ""),
        ("pathPrefix: /a", "resources: [5]", "/a"),
        ("pathPrefix: /a", "audiences: [5]", "/a"),
        ("pathPrefix: /a", "audiences: [true]", "/a"),
        ("pathPrefix: /a, methods: [5]", "scope: read", "/a"),
        ("pathPrefix: /a", "scope: 5", "/a"),
    ],
)
def test_numbers_and_booleans_without_quotes_are_invalid(match: str, exchange: str, prefix: str) -> None:
    entry = f"{{match: {{host: api.example.com, {match}}}, action: exchange, exchange: {{issuerRef: idp, {exchange}}}}}"
    document = parse_document(Source("team", "policy"), f"version: v1\nentries: [{entry}]", frozenset({"idp"}))
    assert document.entries == ()
    (closed_scope,) = document.closed_scopes
    assert (closed_scope.match.host, closed_scope.match.path_prefix, closed_scope.match.methods) == ("api.example.com", prefix, None)


# Issuer profiles

SECRETS: Final = "  clientIDSecretRef: {name: oauth, key: id}\n  clientSecretSecretRef: "


def profile(endpoint: str, secret: str = "{name: oauth, key: secret}") -> str:
    return f"issuers:\n- name: idp\n  tokenEndpoint: {endpoint!r}\n{SECRETS}{secret}\n"


def problems(**variables: str) -> tuple[str, ...]:
    """Return why the service does not start."""
    try:
        read_settings({"POD_NAMESPACE": "edge", **variables})
    except ConfigurationError as error:
        return error.problems
    return ()


@pytest.mark.parametrize(
    ("content", "accepted"),
    [
        ("null", False),
        ("issuers: []", True),
        *((profile(f"https://{place}/token"), False) for place in ("user@idp", "user:pass@idp", "idp:0", "idp:99999", "a" * 300)),
        (profile("https://idp/token#there"), False),
        (profile("https://idp/%zz"), True),
        (profile("  https://idp/token "), True),
        *((profile("https://idp/token", secret), False) for secret in ("{name: A_b, key: k}", "{name: a, key: k k}")),
        (profile("https://idp/token", "{name: a, namespace: A_b, key: k}"), False),
    ],
)
def test_profiles_files(content: str, accepted: bool, tmp_path: Path) -> None:
    file = tmp_path / "issuers.yaml"
    file.write_text(content)
    assert (problems(TOKEN_EXCHANGE_ISSUER_PROFILES_FILE=str(file)) == ()) is accepted


# Configuration


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("CONFIGMAP_LABEL_SELECTOR", "a in ()", False),
        ("CONFIGMAP_NAMESPACE_SELECTOR", "a in ()", False),
        ("CONFIGMAP_LABEL_SELECTOR", "a=", True),
        ("TOKEN_ENDPOINT_MAX_IDLE_CONNS", "+5", False),
        ("TOKEN_ENDPOINT_MAX_IDLE_CONNS", "5", True),
        ("METRICS_PORT", "metrics", False),
        ("METRICS_PORT", "99999", False),
        ("TOKEN_ENDPOINT_AUTH_METHOD", "CLIENT_SECRET_POST", True),
        ("GRPC_PORT", " 3001 ", True),
        ("GRPC_TLS_PORT", "\t3000\n", True),
    ],
)
def test_settings(name: str, value: str, accepted: bool) -> None:
    assert (problems(**{name: value}) == ()) is accepted


def test_invalid_settings_end_the_start_with_status_2() -> None:
    environment = {**os.environ, "METRICS_PORT": "metrics"}
    done = subprocess.run((sys.executable, "-m", "exchanger", "serve"), env=environment, capture_output=True, check=False, timeout=60)
    assert done.returncode == 2


# Metrics


def test_the_page_names_each_new_decision() -> None:
    decisions = section("### Metrics").partition("more values:")[2].partition(". Requests")[0].partition(".\n")[0]
    assert names(decisions) == {reason.value for reason in DecisionReason} - DECISIONS


# The chart


def test_the_memory_limit_is_that_of_the_go_service_s_chart() -> None:
    values = yaml.safe_load((ROOT / "helm" / "exchanger" / "values.yaml").read_text())
    assert values["resources"] == {"requests": {"cpu": "200m", "memory": "128Mi"}, "limits": {"memory": "1024Mi"}}


def test_differences_name_no_values_the_go_chart_never_had() -> None:
    rows = [line.split(" | ")[0] for line in TEXT.splitlines() if line.startswith("| `otel")]
    assert rows == []
