"""Files in the Go project's formats: what is written is read, names in any case, and nothing makes a reader fail."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from exchanger.demo.token_endpoint.routes import TokenRoutes, read_routes
from exchanger.demo.token_endpoint.rules import Refuse
from exchanger.scenarios.answer import RequestedTarget
from exchanger.scenarios.expectation import ExpectedAnswer
from exchanger.scenarios.go_format.scenario_file import GoValues
from exchanger.scenarios.reader import UnusableScenarios, read_scenarios
from exchanger.scenarios.scenario import GatewayCall, LooseRequest
from exchanger.scenarios.tokens import Subject

words = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)
leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
FIELDS = (
    "version scenarios name summary request path token prefill value behavior detail expect status headers routes match response type error"
)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS.split()), inner, max_size=6), max_leaves=20
)
scenarios = st.builds(
    LooseRequest,
    words,
    words,
    st.builds(
        GatewayCall,
        st.just("gw.example.com"),
        words.map("/{}".format),
        st.just(Subject.VALID),
        st.sampled_from(["GET", "POST", "OPTIONS"]),
        st.dictionaries(words.map("x-{}".format), words, max_size=2).map(lambda found: tuple(found.items())),
        words,
    ),
    st.builds(ExpectedAnswer, st.integers(100, 599), words, words, words, words),
)


def written(scenario: LooseRequest) -> dict[str, Any]:
    call, expected = scenario.call, scenario.expected
    return {
        "name": scenario.name,
        "summary": scenario.watch,
        "behavior": {"summary": "s", "detail": "d"},
        "request": {
            "method": call.method.lower(),
            "path": call.path,
            "headers": dict(call.headers),
            "token": {"prefill": "literal", "value": call.literal},
        },
        "expect": {
            "status": expected.status,
            "upstreamAuthorization": expected.authorization,
            "error": expected.error,
            "wwwAuthenticateContains": expected.challenge,
            "corsOrigin": expected.cors_origin,
        },
    }


def renamed(tree: Any, upper: bool) -> Any:
    if isinstance(tree, dict):
        keep = "headers"  # whose names are values
        return {(key.upper() if upper else key): value if key == keep else renamed(value, upper) for key, value in tree.items()}
    return [renamed(part, upper) for part in tree] if isinstance(tree, list) else tree


@given(st.lists(scenarios, min_size=1, max_size=4, unique_by=lambda scenario: scenario.name), st.booleans())
def test_what_is_written_is_read_and_the_case_of_fields_says_nothing(some: list[LooseRequest], upper: bool) -> None:
    text = json.dumps(renamed({"version": "v1", "scenarios": [written(one) for one in some]}, upper))
    assert read_scenarios(text, GoValues("http://gw.example.com")) == tuple(some)


@given(trees, st.sampled_from(["", "{{ .BaseURL }}", "{{"]))
def test_no_document_makes_a_reader_fail(tree: Any, template: str) -> None:
    text = json.dumps({"version": "v1", "scenarios": [{"behavior": tree, **(tree if isinstance(tree, dict) else {})}], "more": template})
    found = read_scenarios(text)
    assert isinstance(found, tuple | UnusableScenarios)
    routes = read_routes(json.dumps(tree))
    assert isinstance(routes, TokenRoutes) or all(problem.lined.isprintable() for problem in routes)


@given(st.lists(words, min_size=1, max_size=5, unique=True), words)
def test_the_first_route_that_matches_answers(errors: list[str], scope: str) -> None:
    routes = [{"name": error, "match": {"scope": scope}, "response": {"type": "oauth_error", "error": error}} for error in errors]
    read = read_routes(json.dumps({"routes": routes}))
    assert isinstance(read, TokenRoutes)
    assert read.route_for("/token/x", RequestedTarget(scope)).behaviour == Refuse(errors[0], "")
    assert read.route_for("/token/x", RequestedTarget(f"{scope} more")).name == "default"
