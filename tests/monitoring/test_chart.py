"""What the chart makes of the alerts and the dashboard, for every value of the sections prometheusRule and grafanaDashboard."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.helm.cases import with_value
from tests.helm.chart import Manifest, of_kind, only, render
from tests.helm.many import prepare
from tests.monitoring.sources import CHART, RULES, Json, alerts, dashboard, groups, values
from tests.monitoring.test_alerts import promtool

pytestmark = pytest.mark.helm

THRESHOLDS: Final = sorted(values()["prometheusRule"]["thresholds"])
# The most that a ConfigMap may hold; https://kubernetes.io/docs/concepts/configuration/configmap/.
CONFIGMAP_BYTES: Final = 1024 * 1024
# The most that a dashboard's uid may have; https://grafana.com/docs/grafana/latest/developers/http_api/dashboard/.
UID_CHARACTERS: Final = 40

# For every value of the two sections another one than the default.
CHANGES: Final[dict[str, object]] = {
    "prometheusRule.enabled": False,
    "prometheusRule.namespace": "monitoring",
    "prometheusRule.labels": {"release": "prometheus"},
    "prometheusRule.annotations": {"note": "x"},
    "prometheusRule.interval": "1m",
    "prometheusRule.matchLabels": {"job": "authz"},
    "prometheusRule.alertLabels": {"team": "edge"},
    "prometheusRule.runbookBaseUrl": "https://runbooks.example.com",
    "prometheusRule.alerts": {"ExchangerAbsent": {"enabled": False}},
    **{f"prometheusRule.thresholds.{name}": 0.1234567 for name in THRESHOLDS},
    "grafanaDashboard.enabled": False,
    "grafanaDashboard.name": "red",
    "grafanaDashboard.namespace": "grafana",
    "grafanaDashboard.labels.grafana_dashboard": "2",
    "grafanaDashboard.annotations.grafana_folder": "Gateways",
    "grafanaDashboard.datasourceUid": "thanos",
    "grafanaDashboard.pluginJob": "authz",
    "grafanaDashboard.gatewayJob": "gateways",
    "grafanaDashboard.gatewayWorkload": "gw",
    "grafanaDashboard.providerCluster": "authz",
    "grafanaDashboard.envoyTimeoutMs": 1500,
    "grafanaDashboard.tokenEndpointTimeoutSeconds": 1.25,
}
ON: Final = {"prometheusRule": {"enabled": True}, "grafanaDashboard": {"enabled": True}}


def rule(*others: Json, **given: Any) -> Manifest:
    """Return the PrometheusRule of a release with ``given`` in its section, and ``others`` beside it."""
    return only(render([{"prometheusRule": {"enabled": True, **given}}, *others]), "PrometheusRule")


def rendered(manifest: Manifest) -> dict[str, Json]:
    return {one["alert"]: one for group in manifest["spec"]["groups"] for one in group["rules"]}


def files(manifest: Manifest) -> list[str]:
    """Return the names of the dashboards in a ConfigMap."""
    return [name for name in manifest["data"] if re.fullmatch(r"exchanger-[0-9a-f]{16}\.json", name)]


def expressions(manifest: Manifest) -> str:
    return "\n".join(one["expr"] for one in rendered(manifest).values())


def board(*others: Json, **given: Any) -> tuple[Manifest, Json]:
    """Return the ConfigMap of the dashboard and the dashboard in it."""
    return only_board(render([{"grafanaDashboard": {"enabled": True, **given}}, *others]))


def only_board(manifests: list[Manifest]) -> tuple[Manifest, Json]:
    (found,) = (manifest for manifest in of_kind(manifests, "ConfigMap") if files(manifest))
    (name,) = files(found)
    return found, json.loads(found["data"][name])


def variable(content: Json, name: str) -> Json:
    found: Json = next(one for one in content["templating"]["list"] if one["name"] == name)
    return found


def leaves(path: str, value: object) -> list[str]:
    """Return the paths of the values below ``path``; an empty map is one."""
    if isinstance(value, dict) and value:
        return [leaf for name, member in value.items() for leaf in leaves(f"{path}.{name}", member)]
    return [path]


def test_every_value_is_tried() -> None:
    assert sorted(CHANGES) == sorted(leaf for section in ON for leaf in leaves(section, values()[section]))


def by_kind(manifests: list[Manifest]) -> tuple[list[Manifest], list[Manifest], list[Manifest]]:
    """Return the rules, the dashboards and all else."""
    boards = [one for one in of_kind(manifests, "ConfigMap") if files(one)]
    rules = of_kind(manifests, "PrometheusRule")
    return rules, boards, [one for one in manifests if one not in boards and one not in rules]


@pytest.fixture(scope="module")
def at_once() -> None:
    prepare(with_value(ON, path, value) for path, value in CHANGES.items())


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("path", sorted(CHANGES))
def test_every_value_changes_something_and_only_its_own_object(path: str) -> None:
    rules, boards, others = by_kind(render(ON))
    new_rules, new_boards, new_others = by_kind(render(with_value(ON, path, CHANGES[path])))

    assert others == new_others
    assert (rules != new_rules, boards != new_boards) == (path.startswith("prometheusRule."), path.startswith("grafanaDashboard."))
    if ".thresholds." in path:
        assert "0.1234567" in expressions(new_rules[0])
    assert "${" not in "".join(map(expressions, new_rules))


def test_alerts_are_those_of_the_file_with_labels_of_the_release() -> None:
    expected = groups()
    for group in expected:
        for one in group["rules"]:
            one["labels"] |= {"namespace": "edge", "service": "exchanger"}
            one["annotations"]["runbook"] = one["annotations"].pop("runbook_url")  # no link that leads nowhere

    manifest = rule()

    assert manifest["spec"] == {"groups": expected}
    assert manifest["metadata"]["namespace"] == "edge"
    assert manifest["metadata"]["labels"]["app.kubernetes.io/name"] == "exchanger"


@pytest.mark.parametrize(("staleness", "limit"), [("0", "900"), ("5m", "300"), ("90s", "90"), ("1h", "900"), ("1m500ms", "60.5")])
def test_the_age_of_policy_is_told_before_everything_is_refused(staleness: str, limit: str) -> None:
    found = rendered(rule({"policy": {"maxStaleness": staleness}}))["ExchangerPolicyTooOld"]

    assert found["expr"].endswith(f" > {limit}")


@pytest.mark.parametrize(
    ("beside", "seconds"),
    [
        ({}, "0.75"),
        ({"tokenExchange": {"httpClient": {"requestTimeout": "2s"}}}, "2"),
        ({"env": {"TOKEN_ENDPOINT_REQUEST_TIMEOUT": "1m30s"}}, "90"),
        ({"env": [{"name": "TOKEN_ENDPOINT_REQUEST_TIMEOUT", "value": "1250ms"}]}, "1.25"),
    ],
)
def test_slow_is_measured_by_the_time_limit_that_the_service_has(beside: Json, seconds: str) -> None:
    assert f"> 0.8 * {seconds}\n" in rendered(rule(beside))["ExchangerTokenEndpointSlow"]["expr"]
    assert variable(board(beside)[1], "token_timeout")["query"] == seconds


@pytest.mark.parametrize(
    ("beside", "matchers"),
    [
        ({}, 'job="exchanger",namespace="edge"'),
        ({"serviceMonitor": {"enabled": True}}, 'job="exchanger",namespace="edge"'),
        ({"podMonitor": {"enabled": True}}, 'job="edge/exchanger",namespace="edge"'),
        ({"fullnameOverride": "other"}, 'job="other",namespace="edge"'),
        ({"prometheusRule": {"matchLabels": {"service_name": "authz", "cluster": "eu"}}}, 'cluster="eu",service_name="authz"'),
    ],
    ids=["alone", "by service", "by pod", "another name", "other labels"],
)
def test_alerts_look_for_series_under_the_job_that_the_operator_gives_them(beside: Json, matchers: str) -> None:
    text = expressions(rule(beside))

    assert f"up{{{matchers}}}" in text
    assert "job=" not in text.replace(matchers, "")


@pytest.mark.go
def test_text_in_a_label_stays_in_the_label(tmp_path: Path) -> None:
    manifest = rule(matchLabels={"job": 'a"} or vector(1) > 0 # \\ \n${errorBudget} {{ x'}, runbookBaseUrl="https://x.example/a#b")
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(manifest["spec"], width=1000))

    done = promtool("check", "rules", path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert manifest["spec"].keys() == {"groups"}
    assert rendered(manifest).keys() == alerts().keys()


def test_alerts_of_two_releases_differ() -> None:
    one, other = (rendered(only(render(ON, release=release), "PrometheusRule")) for release in ("a", "b"))

    assert all(one[name]["labels"] != other[name]["labels"] for name in one)


@pytest.mark.parametrize("slash", ["", "/"])
def test_prometheus_rule_has_the_metadata_labels_and_links_of_the_values(slash: str) -> None:
    place = {"namespace": "monitoring", "labels": {"release": "prometheus"}, "annotations": {"note": "x"}, "interval": "1m"}
    manifest = rule(
        **place, alertLabels={"team": "edge", "service": "authz"}, runbookBaseUrl=f"https://runbooks.example.com/exchanger{slash}"
    )

    assert manifest["metadata"]["namespace"] == "monitoring"
    assert manifest["metadata"]["labels"]["release"] == "prometheus"
    assert manifest["metadata"]["annotations"] == {"note": "x"}
    assert {group["interval"] for group in manifest["spec"]["groups"]} == {"1m"}
    for name, one in rendered(manifest).items():
        assert one["labels"] == {**alerts()[name]["labels"], "namespace": "edge", "team": "edge", "service": "authz"}
        assert one["annotations"]["runbook_url"] == f"https://runbooks.example.com/exchanger/{name}.md"


def test_single_alerts_are_changed_or_left_out() -> None:
    changed = {"severity": "info", "for": "1h"}
    left_out, kept = {"enabled": False}, {"enabled": True}
    found = rendered(rule(alerts={"ExchangerNoRequests": left_out, "ExchangerPolicyInvalid": changed, "ExchangerAbsent": kept}))

    assert found.keys() == alerts().keys() - {"ExchangerNoRequests"}
    assert (found["ExchangerPolicyInvalid"]["labels"]["severity"], found["ExchangerPolicyInvalid"]["for"]) == ("info", "1h")
    assert found["ExchangerPolicyTooOld"]["labels"]["severity"] == "critical"


def test_a_group_without_alerts_is_left_out() -> None:
    first = groups()[0]
    found = rule(alerts={one["alert"]: {"enabled": False} for one in first["rules"]})

    assert [group["name"] for group in found["spec"]["groups"]] == [group["name"] for group in groups()[1:]]


def test_the_schema_and_the_rules_know_every_alert_and_threshold() -> None:
    section = json.loads((CHART / "values.schema.json").read_text())["properties"]["prometheusRule"]["properties"]
    used = set(re.findall(r"\$\{(\w+)\}", RULES.read_text()))

    assert sorted(section["alerts"]["properties"]) == sorted(alerts())
    assert sorted(section["thresholds"]["properties"]) == THRESHOLDS
    assert used == {*THRESHOLDS, "selector", "runbooks", "tokenEndpointTimeoutSeconds"}


def test_dashboard_is_the_file_except_for_title_and_choices() -> None:
    manifest, content = board()
    expected = json.loads(json.dumps(dashboard()))
    for one in (*expected["templating"]["list"], *content["templating"]["list"]):
        del one["current"]
    (name,) = files(manifest)

    assert content["title"] == f"{expected['title']} (edge/exchanger)"
    assert name == f"{content['uid']}.json"
    assert content == {**expected, "title": content["title"], "uid": content["uid"]}
    assert manifest["metadata"]["name"] == "exchanger-dashboard"
    assert manifest["metadata"]["namespace"] == "edge"
    assert manifest["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert manifest["metadata"]["annotations"] == {"grafana_folder": "Ext AuthZ"}
    assert len(manifest["data"][name].encode()) < CONFIGMAP_BYTES


def test_dashboards_of_two_releases_live_in_one_grafana() -> None:
    """Its sidecar puts them into one folder, where a file's name, a uid or a title that is there twice loses."""
    places = [("blue", "edge"), ("green", "edge"), ("blue", "other")]
    found = [only_board(render(ON, release=release, namespace=namespace)) for release, namespace in places]
    names = [(content["uid"], content["title"], *files(manifest)) for manifest, content in found]

    assert all(len(set(distinct)) == len(places) for distinct in zip(*names, strict=True))
    assert all(len(uid) <= UID_CHARACTERS for uid, *_ in names)


def test_the_dashboard_is_where_and_as_grafana_looks_for_it() -> None:
    manifest, _ = board(
        name="red", namespace="grafana", labels={"grafana_dashboard": "2", "team": "edge"}, annotations={"grafana_folder": "Gateways"}
    )

    assert manifest["metadata"]["name"] == "red"
    assert manifest["metadata"]["namespace"] == "grafana"
    assert manifest["metadata"]["labels"].items() >= {"grafana_dashboard": "2", "team": "edge"}.items()
    assert manifest["metadata"]["annotations"] == {"grafana_folder": "Gateways"}


@pytest.mark.parametrize(
    ("value", "given", "name", "chosen"),
    [
        ("datasourceUid", "thanos", "datasource", "thanos"),
        ("pluginJob", "authz", "job", "authz"),
        ("gatewayJob", "gateways/.*", "gateway_job", "gateways/.*"),
        ("gatewayWorkload", "gw", "gateway_workload", "gw"),
        ("providerCluster", "outbound|3001||x", "provider_cluster", "outbound|3001||x"),
        ("envoyTimeoutMs", 1500, "gateway_timeout", "1.5"),
        ("envoyTimeoutMs", 2000, "gateway_timeout", "2"),
        ("tokenEndpointTimeoutSeconds", 1.25, "token_timeout", "1.25"),
        ("tokenEndpointTimeoutSeconds", 3, "token_timeout", "3"),
    ],
)
def test_a_variable_is_at_first_what_its_value_says(value: str, given: object, name: str, chosen: str) -> None:
    found = variable(board(**{value: given})[1], name)

    assert found["current"]["value"] == chosen
    if found["type"] in {"constant", "textbox"}:
        assert found["query"] == chosen


def test_all_jobs_are_shown_at_first_unless_one_is_named() -> None:
    assert variable(board()[1], "job")["current"]["value"] == "$__all"
