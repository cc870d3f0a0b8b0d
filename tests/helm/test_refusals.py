"""What cannot be meant is refused with a sentence that says what to do; what looks odd but works is rendered (``refusals.yaml``)."""

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from exchanger.values.selector import parse_selector
from tests.helm.cases import PROFILE
from tests.helm.chart import CHART, refusal
from tests.helm.many import render_many
from tests.helm.rendered_cluster import DEMO_CHART

pytestmark = [pytest.mark.helm]

TABLE: Final[dict[str, Any]] = yaml.load(Path(__file__).with_name("refusals.yaml").read_text(), yaml.CSafeLoader)
SENTENCES: Final = [(part, name) for part, cases in TABLE["refused"].items() for name in cases]
SELECTORS: Final = (
    *("a", "!a", " ! a , b", "a=b", "a==b", "a!=b", "a=", "a in (b,c)", "a notin ( b , c )", "a in(b)", "a>1", "a < -5", "a=b,c in (d),!e"),
    *("example.com/a=b", "A_1.x=B_1.x", "a in ()", "a in (,)", "a in (b,)", "a in (,b)", "a < 5", "a>007", "a=b ,", ",a", "a b", "a=b=c"),
    *("a in b", "a in (b", "(a)", "a=b;c", "Example.com/a", "/a", "a/b/c", "-a", "a-", "a=-b", "{a: b}", "a: b", '"a"=b', "a>b"),
    *("a" * 63, "a" * 64, f"a={'b' * 64}", "a===b", "!a=b", "a in (b c)"),
)


@pytest.mark.parametrize(("part", "name"), SENTENCES)
def test_senseless_values_are_refused_with_a_sentence(part: str, name: str) -> None:
    case = TABLE["refused"][part][name]
    place: dict[str, Any] = {"chart": DEMO_CHART, "release": "demo", "namespace": "demo"} if part == "demo" else {}
    assert case["says"] in refusal(case["values"], **place)


def test_the_schema_refuses_impossible_values() -> None:
    many = TABLE["unlike_the_schema"]
    objections = render_many(CHART, many, "exchanger", "edge").objections
    assert [values for number, values in enumerate(many) if number not in objections] == []


def test_odd_values_that_work_are_rendered() -> None:
    texts = render_many(CHART, TABLE["rendered"], "exchanger", "edge").texts
    assert all("kind: Deployment" in text for text in texts.values())


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    """It would lie in a ConfigMap, or in the pod's environment, and neither the service nor its export would use such an address."""
    endpoint = refusal({"issuerProfiles": {"profiles": [{**PROFILE, "tokenEndpoint": "https://somebody:hush@a.example/t"}]}})
    assert "the tokenEndpoint of primary must not have user information" in endpoint
    collector = refusal({"otel": {"endpoint": "http://somebody:hush@collector:4318"}})
    assert "OTEL_EXPORTER_OTLP_ENDPOINT must not have user information" in collector
    without_scheme = refusal({"env": {"OTEL_EXPORTER_OTLP_ENDPOINT": "somebody:hush@collector:4318"}})
    for said in (endpoint, collector, without_scheme):
        assert "hush" not in said


def understood(selector: str) -> bool:
    try:
        parse_selector(selector)
    except ValueError:
        return False
    return True


def test_the_chart_takes_the_selectors_that_the_service_takes() -> None:
    taken = [{"policy": {"namespaceSelector": selector}} for selector in SELECTORS if understood(selector)]
    assert len(render_many(CHART, taken, "exchanger", "edge").texts) == len(taken)


@pytest.mark.parametrize("selector", [selector for selector in SELECTORS if not understood(selector)])
def test_the_chart_refuses_the_selectors_that_the_service_refuses(selector: str) -> None:
    assert "is no label selector" in refusal({"policy": {"namespaceSelector": selector}})
