"""What cannot be meant is refused with a sentence that says what to do; what looks odd but works is rendered (``refusals.yaml``)."""

from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from exchanger.model.selector import parse_selector
from tests.helm.cases import PROFILE
from tests.helm.many import refusals, render_many
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


@cache
def said(part: str) -> dict[str, str]:
    """Return the refusals of a part of the table by their names."""
    cases = {name: case["values"] for name, case in TABLE["refused"][part].items()}
    place: dict[str, Any] = {"chart": DEMO_CHART, "release": "demo", "namespace": "demo"} if part == "demo" else {}
    return dict(zip(cases, refusals([*cases.values()], **place), strict=True))


@pytest.mark.parametrize(("part", "name"), SENTENCES)
def test_senseless_values_are_refused_with_a_sentence(part: str, name: str) -> None:
    assert TABLE["refused"][part][name]["says"] in said(part)[name]


def test_the_schema_refuses_impossible_values() -> None:
    many = TABLE["unlike_the_schema"]
    objections = render_many(many).objections
    assert [values for number, values in enumerate(many) if number not in objections] == []


def test_odd_values_that_work_are_rendered() -> None:
    texts = render_many(TABLE["rendered"]).texts
    assert all("kind: Deployment" in text for text in texts.values())


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    """It would lie in a ConfigMap, or in the pod's environment, and neither the service nor its export would use such an address."""
    endpoint, collector, without_scheme = refusals(
        [
            {"issuerProfiles": {"profiles": [{**PROFILE, "tokenEndpoint": "https://somebody:hush@a.example/t"}]}},
            {"otel": {"endpoint": "http://somebody:hush@collector:4318"}},
            {"env": {"OTEL_EXPORTER_OTLP_ENDPOINT": "somebody:hush@collector:4318"}},
        ]
    )
    assert "the tokenEndpoint of primary must not have user information" in endpoint
    assert "OTEL_EXPORTER_OTLP_ENDPOINT must not have user information" in collector
    assert without_scheme
    assert "hush" not in endpoint + collector + without_scheme


def understood(selector: str) -> bool:
    try:
        parse_selector(selector)
    except ValueError:
        return False
    return True


def test_the_chart_takes_the_selectors_that_the_service_takes_and_no_others() -> None:
    many = {selector: {"policy": {"namespaceSelector": selector}} for selector in SELECTORS}
    taken = [values for selector, values in many.items() if understood(selector)]
    assert len(render_many(taken).texts) == len(taken)
    for selector, sentence in zip(SELECTORS, refusals([*many.values()]), strict=True):
        assert sentence == "" if understood(selector) else "is not a label selector" in sentence, selector
