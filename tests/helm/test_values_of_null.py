"""A value of null is what helm makes of it, that the default is taken away: it means the empty value, or is refused by its name.

Every part of every ``values.yaml`` is walked, in two runs of helm a chart (``many.py``): one that asks the schemas, and one that renders
what they let pass beside what it has to be equal to.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import yaml

from tests.helm import cases
from tests.helm.cases import AUTHORIZATION_POLICY, BACKEND_TLS, FILTER, GKE, OWN_SECRET, SCALED, SECURITY_POLICY
from tests.helm.chart import CHART, parsed, rendered_text, validate
from tests.helm.many import prepare, refusals, render_many
from tests.helm.rendered_cluster import DEMO_CHART
from tests.helm.test_core_documents import writer

pytestmark = [pytest.mark.full, pytest.mark.helm, pytest.mark.slow]

PathOf = tuple[str, ...]
Given = Mapping[str, Any]

CASES: Final = {CHART: (*cases.CASES["service"], *cases.CASES["wiring"]), DEMO_CHART: cases.CASES["demo"]}
# Sections whose values are looked at with the section switched on; the others' cases say what they need.
MONITORING: Final = ("prometheusRule", "grafanaDashboard")
# Sections whose values are variables: without one the service's own default holds, which is the chart's (``test_core_environment.py``).
SERVICE_KNOWS: Final = ("tokenExchange", "log")
OTHER_USES: Final[Mapping[str, Given]] = {
    "podDisruptionBudget.maxUnavailable": {"podDisruptionBudget": {"minAvailable": 1}},
    "podDisruptionBudget.minAvailable": {"podDisruptionBudget": {"maxUnavailable": 1}},
}
# Values that cannot be empty beside others; the templates say so, of null as of the empty value.
SENTENCES: Final[Mapping[str, tuple[Given, str]]] = {
    "oauth.clientID": (OWN_SECRET, "oauth.createSecret needs oauth.clientID"),
    "oauth.clientSecret": (OWN_SECRET, "oauth.createSecret needs oauth.clientID"),
    "oauth.existingSecret.name": (
        {"issuerProfiles": {"profiles": [cases.PROFILE]}},
        "primary has no credentials, or only one of the two, and oauth.existingSecret.name is empty",
    ),
    "tokenCache.keySecretName": (
        {"tokenCache": {"url": "rediss://cache.example.com", "keySecretName": "keys"}},
        "tokenCache.url needs tokenCache.keySecretName",
    ),
    "audit.keySecretName": (
        {"audit": {"log": "/var/log/exchanger/audit.log", "keySecretName": "keys"}},
        "audit.log needs audit.keySecretName",
    ),
    "httpAuthz.tls.secretName": (
        {
            "httpAuthz": {
                "enabled": True,
                "secretName": "gateway",
                "tls": {"secretName": "authz-tls", "clientCA": {"secretName": "gateways"}},
            }
        },
        "httpAuthz.tls.clientCA.secretName needs httpAuthz.tls.secretName",
    ),
    "podDisruptionBudget.maxUnavailable": ({}, "podDisruptionBudget.maxUnavailable is 0"),
    "admission.tls.caBundle": (
        {"admission": {"enabled": True, "tls": {"source": "existing", "secretName": "mine", "caBundle": "other"}}},
        "admission.tls.source=existing needs admission.tls.secretName and admission.tls.caBundle",
    ),
    "autoscaling.targetCPUUtilizationPercentage": (SCALED, "autoscaling needs targetCPUUtilizationPercentage,"),
    "resources": (SCALED, "autoscaling by CPU needs resources.requests.cpu"),
    "resources.requests": (SCALED, "autoscaling by CPU needs resources.requests.cpu"),
    "authorizationPolicy.workloadSelectorLabels": (AUTHORIZATION_POLICY, "authorizationPolicy.workloadSelectorLabels is empty"),
    "authorizationPolicy.rules": (AUTHORIZATION_POLICY, "authorizationPolicy.rules is empty"),
    "envoyFilter.workloadSelectorLabels": (FILTER, "envoyFilter.workloadSelectorLabels is empty"),
    "envoyGateway.targetRefs": (SECURITY_POLICY, "envoyGateway.targetRefs is empty"),
    "envoyGateway.tls.caCertificateRef.name": (BACKEND_TLS, "needs envoyGateway.tls.caCertificateRef.name"),
    "gkeExtProc.supportedEvents": (GKE, "gkeExtProc.supportedEvents needs RequestHeaders"),
}


def parts(values: Given, path: PathOf = ()) -> Iterator[PathOf]:
    """Return the paths of everything in ``values``, sections too."""
    for name, value in values.items():
        yield (*path, name)
        if isinstance(value, dict):
            yield from parts(value, (*path, name))


@cache
def defaults(chart: Path) -> Given:
    found: Given = yaml.load((chart / "values.yaml").read_text(), yaml.CSafeLoader)
    return found


@cache
def documented(chart: Path) -> frozenset[str]:
    """Return the values that the README's table has a row for; what is within one of them is Kubernetes' or the user's."""
    text = (chart / "values.yaml").read_text()
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return frozenset(path for path, default, _ in writer().rows(node, text.splitlines()) if default)


def value_at(values: Any, path: PathOf) -> Any:
    for step in path:
        values = values[step]
    return values


def placed(given: Given, path: PathOf, value: Any) -> dict[str, Any]:
    """Return ``given`` with ``value`` at ``path``; unlike ``with_value``, names may have dots."""
    head, *rest = path
    return {**given, head: placed(given.get(head) or {}, tuple(rest), value) if rest else value}


def empty(default: Any) -> Any:
    """Return what null means in the place of ``default``. Helm merges maps, so that one is emptied key by key."""
    return dict.fromkeys(default) if isinstance(default, dict) else type(default)()


@attrs.frozen
class Null:
    """Null at ``path`` of ``chart``, beside ``given``."""

    chart: Path
    path: PathOf
    given: Given

    def __str__(self) -> str:
        return f"{self.chart.name}:{'.'.join(self.path)}"

    def values(self) -> dict[str, Any]:
        return placed(self.given, self.path, None)

    def like(self) -> dict[str, Any]:
        """Return the values that it has to mean the same as."""
        if self.path[0] in SERVICE_KNOWS:
            return dict(self.given)
        if ".".join(self.path) not in documented(self.chart):
            return self.values()  # within a value there is no empty one to mean: what is rendered has to be valid
        return placed(self.given, self.path, empty(value_at(defaults(self.chart), self.path)))


def uses(chart: Path, path: PathOf) -> list[Given]:
    """Return beside what a value is looked at: what its own cases need, or nothing."""
    name = ".".join(path)
    if path[0] in MONITORING:
        return [{path[0]: {"enabled": True}}]
    found = [case.given for case in CASES[chart] if name == case.path or name.startswith(f"{case.path}.")]
    found += [OTHER_USES[name]] if name in OTHER_USES else []
    refused = next((given for path, (given, _) in SENTENCES.items() if chart == CHART and f"{name}.".startswith(f"{path}.")), None)
    distinct = [given for number, given in enumerate(found) if given not in found[:number] and given != refused]
    return distinct or [{"podDisruptionBudget": {"enabled": False}} if refused == {} else {}]


NULLS: Final = [Null(chart, path, given) for chart in (CHART, DEMO_CHART) for path in parts(defaults(chart)) for given in uses(chart, path)]


def documents(chart: Path, values: Given) -> tuple[str, ...]:
    """Return the manifests as text, whose order says nothing."""
    parts = re.split(r"^---$", rendered_text(values, chart), flags=re.MULTILINE)
    return tuple(sorted(document for part in parts if (document := part.strip())))


@pytest.fixture(scope="module")
def objections() -> Mapping[str, str]:
    """What the schemas object to, by the null; what they let pass is rendered at once, beside what it has to be like."""
    found: dict[str, str] = {}
    for chart in CASES:
        nulls = [null for null in NULLS if null.chart == chart]
        found |= {
            str(nulls[number]): said for number, said in render_many([null.values() for null in nulls], chart=chart).objections.items()
        }
        prepare((values for null in nulls if str(null) not in found for values in (null.values(), null.like())), chart=chart)
    return found


@pytest.mark.parametrize("null", NULLS, ids=str)
def test_null_means_the_empty_value_or_is_refused_by_its_name(null: Null, objections: Mapping[str, str]) -> None:
    if objection := objections.get(str(null)):
        *section, name = null.path
        assert objection == f"- at '{''.join(f'/{step}' for step in section)}': missing property '{name}'\n"
        return
    texts, like = documents(null.chart, null.values()), documents(null.chart, null.like())
    for manifest in parsed("\n---\n".join(texts)):
        validate(manifest)
    if null.path[0] in SERVICE_KNOWS:
        there, before = (Counter(line.split(":")[0] for text in found for line in text.splitlines()) for found in (texts, like))
        assert sorted((before - there).elements()) == ["              value", "            - name"]
        assert not there - before
    else:
        assert texts == like


def test_null_is_refused_with_a_sentence_where_the_empty_value_is() -> None:
    nulls = [Null(CHART, tuple(path.split(".")), given) for path, (given, _) in SENTENCES.items()]
    found = zip(refusals([null.values() for null in nulls]), refusals([null.like() for null in nulls]), strict=True)
    for (_, sentence), said in zip(SENTENCES.values(), found, strict=True):
        assert sentence in said[0]
        assert sentence in said[1]
