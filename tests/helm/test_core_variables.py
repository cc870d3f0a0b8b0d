"""The chart refuses what the service would not start with, and reads what the service reads: most of all durations, which are Go's."""

import math
from typing import Any, Final

import pytest

from exchanger.app.settings import read_settings
from exchanger.errors import ConfigurationError
from exchanger.util.duration import parse_duration
from tests.helm.cases import FILTER, SECURITY_POLICY
from tests.helm.chart import CHART, Manifest, only, refusal, render
from tests.helm.many import render_many
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
# Variables that the service alone can judge.
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
    texts = render_many(CHART, [{"env": {"SHUTDOWN_GRACE_PERIOD": text}} for text in DURATIONS], "exchanger", "edge").texts
    for number, text in enumerate(DURATIONS):
        seconds = 5 + math.ceil(parse_duration(text.strip())) + 10  # shutdown.preStopSleep before, and a margin after
        assert f"terminationGracePeriodSeconds: {seconds}\n" in texts[number], text


@pytest.mark.parametrize("gateway", [FILTER, SECURITY_POLICY], ids=["filter", "policy"])
@pytest.mark.parametrize("text", [text for text in DURATIONS if parse_duration(text.strip()) > 1])
def test_a_gateway_that_gives_up_first_is_refused_whatever_the_units(gateway: dict[str, Any], text: str) -> None:
    assert "has to be longer than an exchange may take" in refusal({**gateway, "env": {"TOKEN_ENDPOINT_REQUEST_TIMEOUT": text}})


def test_alerts_follow_a_duration_in_whatever_units_it_is() -> None:
    env = {"TOKEN_ENDPOINT_REQUEST_TIMEOUT": "600000us", "POLICY_MAX_STALENESS": "60000000000ns"}
    values = {"tokenExchange": {"httpClient": {"requestTimeout": "600ms"}}, "policy": {"maxStaleness": "1m"}}
    by_env, by_values = (expressions(render({"prometheusRule": {"enabled": True}, **given})) for given in ({"env": env}, values))
    assert by_env == by_values
    assert "> 0.8 * 0.6" in by_env["ExchangerTokenEndpointSlow"]
    assert by_env["ExchangerPolicyTooOld"].endswith("> 60")


@pytest.mark.parametrize("text", NO_DURATIONS)
def test_the_chart_refuses_the_durations_that_the_service_refuses(text: str) -> None:
    name = "SHUTDOWN_GRACE_PERIOD"
    if text.strip():
        assert not starts(name, text)
    assert f"{name} has to be a duration such as 750ms or 1m30s, and more than none" in refusal({"env": {name: text}})


@pytest.mark.parametrize("name", sorted(known_variables() - WITHOUT_A_VALUE - WIRED - MORE_THAN_PATTERNS))
def test_the_chart_refuses_what_the_service_would_not_start_with(name: str) -> None:
    wrong = next((text for text in WRONG if not starts(name, text)), None)
    assert wrong is None or f"env: {name} " in refusal({"env": {name: wrong}})


@pytest.mark.parametrize(
    "name",
    [
        *("METRICS_ENABLED", "METRICS_PATH", "LOG_FORMAT", "LOG_LEVEL", "TOKEN_ENDPOINT_AUTH_METHOD", "TOKEN_ENDPOINT_DIAL_TIMEOUT"),
    ],
)
def test_the_chart_takes_what_the_service_takes(name: str) -> None:
    texts = (*WRONG, *RIGHT)
    right = [text for text in texts if starts(name, text)]
    assert len(render_many(CHART, [{"env": {name: text}} for text in right], "exchanger", "edge").texts) == len(right)
    for text in texts:
        assert text in right or refusal({"env": {name: text}})


@pytest.mark.parametrize("name", ["METRICS_ENABLED", "METRICS_PATH", "POLICY_MAX_STALENESS", "TOKEN_ENDPOINT_REQUEST_TIMEOUT"])
def test_variables_that_decide_what_is_rendered_need_a_value(name: str) -> None:
    sentence = f"{name} decides what the chart renders, so it needs a value and cannot come from"
    reference = {"valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}
    assert f"{sentence} another variable" in refusal({"env": {name: "$(ELSEWHERE)"}})
    assert f"{sentence} valueFrom" in refusal({"env": {name: reference}})
