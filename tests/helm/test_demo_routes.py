"""The demo's chart takes the token endpoint's routes in the form in which the program reads them."""

import json
from typing import Final

import pytest
import yaml

from exchanger.demo.token_endpoint.routes import TokenRoutes, read_routes
from tests.helm.cases import SETTINGS
from tests.helm.chart import only
from tests.helm.rendered_cluster import DEMO_CHART
from tests.helm.rendered_demo import demo

pytestmark = [pytest.mark.helm]

TYPES: Final = json.loads((DEMO_CHART / "values.schema.json").read_text())["$defs"]["tokenResponse"]["properties"]["type"]["enum"]


def test_the_program_reads_what_the_chart_renders() -> None:
    values = SETTINGS["demo"]["routes and spans"]
    read = read_routes(only(demo(values), "ConfigMap", "fake-token-endpoint-routes")["data"]["routes.yaml"])
    assert isinstance(read, TokenRoutes)
    assert [route.name for route in read.routes] == [route["name"] for route in values["fakeTokenEndpoint"]["routes"]]


@pytest.mark.parametrize("kind", TYPES)
def test_the_program_knows_each_type_of_response_that_the_schema_admits(kind: str) -> None:
    response = {"type": kind, **({"error": "invalid_grant"} if kind.endswith("_error") else {})}
    routes = {"routes": [{"name": "a", "match": {"scope": "b"}, "response": response}]}
    assert isinstance(read_routes(yaml.safe_dump(routes)), TokenRoutes)
    assert not isinstance(read_routes(yaml.safe_dump(routes).replace(kind, f"{kind}x")), TokenRoutes)
