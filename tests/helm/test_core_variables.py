"""The chart refuses what the service would not start with, and reads what the service reads: most of all durations, which are Go's."""

import math
from typing import Any, Final

import pytest

from exchanger.app.settings import read_settings
from exchanger.model.errors import ConfigurationError
from exchanger.util.duration import parse_duration
from tests.helm.cases import FILTER, SECURITY_POLICY
from tests.helm.chart import Manifest, only, render
from tests.helm.many import refusals, render_many
from tests.helm.test_core_environment import WITHOUT_A_VALUE, known_variables

pytestmark = [pytest.mark.helm]

# Texts that Go's time.ParseDuration knows (https://pkg.go.dev/time#ParseDuration), some of more than a gateway's second.
DURATIONS: Final = (
    "1500000us",
    "1500000µs",
    "1500000μs",
    "2000000000ns",
    "+2s",
    ".5h",
    "1.s",
    "1m0.5s",
    "750ms",
    "1h1m1s1ms1us1ns",
    " 2s ",
)
NO_DURATIONS: Final = ("-5s", "5", "1d", "1s2", "5 s", ".s", "0", "0s", "+", "1S", f"0.{'0' * 30}1s", " ")
# Variables that the service alone can check.
MORE_THAN_PATTERNS: Final = frozenset({"CONFIGMAP_LABEL_SELECTOR", "CONFIGMAP_NAMESPACE_SELECTOR", "CONSOLE_HOSTS"})
# Variables that the chart refuses whatever they say, beside those in ``WITHOUT_A_VALUE``.
WIRED: Final = frozenset({"GRPC_TLS_CERT_FILE", "GRPC_TLS_KEY_FILE", "GRPC_TLS_CLIENT_CA_FILE", "CONSOLE_ADDRESS", "CONSOLE_TOKEN_FILE"})
WRONG: Final = ("no sense", "-1", "enabled", "metrics", "/with space", "/a?b", "65536", "0.5")
RIGHT: Final = ("True", " off\n", "0", "1", "json", "ERROR", "/metrics/all", "+1m.5s", "client_secret_post", "3005")


def expressions(manifests: list[Manifest]) -> dict[str, str]:
    groups = only(manifests, "PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def starts(name: str, text: str) -> bool:
    """Return whether the service starts with the variable."""
    try:
        read_settings({name: text})
    except ConfigurationError:
        return False
    return True


def test_the_time_to_end_follows_a_duration_in_whatever_units_it_is() -> None:
    texts = render_many([{"env": {"SHUTDOWN_GRACE_PERIOD": text}} for text in DURATIONS]).texts
    for number, text in enumerate(DURATIONS):
        seconds = 5 + math.ceil(parse_duration(text.strip())) + 10  # shutdown.preStopSleep before, and a margin after
        assert f"terminationGracePeriodSeconds: {seconds}\n" in texts[number], text


@pytest.mark.parametrize("gateway", [FILTER, SECURITY_POLICY], ids=["filter", "policy"])
def test_a_gateway_that_gives_up_first_is_refused_whatever_the_units(gateway: dict[str, Any]) -> None:
    longer = [text for text in DURATIONS if parse_duration(text.strip()) > 1]
    found = refusals([{**gateway, "env": {"TOKEN_ENDPOINT_REQUEST_TIMEOUT": text}} for text in longer])
    for text, said in zip(longer, found, strict=True):
        assert "must be longer than an exchange may take" in said, text


def test_alerts_follow_a_duration_in_whatever_units_it_is() -> None:
    env = {"TOKEN_ENDPOINT_REQUEST_TIMEOUT": "600000us", "POLICY_MAX_STALENESS": "60000000000ns"}
    values = {"tokenExchange": {"httpClient": {"requestTimeout": "600ms"}}, "policy": {"maxStaleness": "1m"}}
    by_env, by_values = (expressions(render({"prometheusRule": {"enabled": True}, **given})) for given in ({"env": env}, values))
    assert by_env == by_values
    assert "> 0.8 * 0.6" in by_env["ExchangerTokenEndpointSlow"]
    assert by_env["ExchangerPolicyTooOld"].endswith("> 60")


def test_the_chart_refuses_the_durations_that_the_service_refuses() -> None:
    name = "SHUTDOWN_GRACE_PERIOD"
    for text, said in zip(NO_DURATIONS, refusals([{"env": {name: text}} for text in NO_DURATIONS]), strict=True):
        assert not text.strip() or not starts(name, text)
        assert f"{name} must be a duration such as 750ms or 1m30s, and more than none" in said, text


def test_the_chart_refuses_what_the_service_would_not_start_with() -> None:
    names = sorted(known_variables() - WITHOUT_A_VALUE - WIRED - MORE_THAN_PATTERNS)
    wrong = {name: text for name in names if (text := next((text for text in WRONG if not starts(name, text)), None)) is not None}
    for name, said in zip(wrong, refusals([{"env": {name: text}} for name, text in wrong.items()]), strict=True):
        assert f"env: {name} " in said


def test_the_chart_takes_what_the_service_takes_and_nothing_else() -> None:
    names = ("METRICS_ENABLED", "METRICS_PATH", "LOG_FORMAT", "LOG_LEVEL", "TOKEN_ENDPOINT_AUTH_METHOD", "TOKEN_ENDPOINT_DIAL_TIMEOUT")
    tried = [(name, text) for name in names for text in (*WRONG, *RIGHT)]
    taken = [{"env": {name: text}} for name, text in tried if starts(name, text)]
    assert len(render_many(taken).texts) == len(taken)
    for (name, text), said in zip(tried, refusals([{"env": {name: text}} for name, text in tried]), strict=True):
        assert starts(name, text) is (said == ""), (name, text)


def test_variables_that_decide_what_is_rendered_need_a_value() -> None:
    reference = {"valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}
    names = ("METRICS_ENABLED", "METRICS_PATH", "POLICY_MAX_STALENESS", "TOKEN_ENDPOINT_REQUEST_TIMEOUT")
    tried = [(name, *source) for name in names for source in (("$(ELSEWHERE)", "another variable"), (reference, "valueFrom"))]
    for (name, _, source), said in zip(tried, refusals([{"env": {name: value}} for name, value, _ in tried]), strict=True):
        assert f"{name} decides what the chart renders, so it needs a value and cannot come from {source}" in said
