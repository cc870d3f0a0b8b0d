"""Laws of scenario files, in this project's format and the Go project's."""

import copy
import importlib.resources
import json
from typing import Any, Final

from hypothesis import example, given
from hypothesis import strategies as st

from exchanger.commands.demo.token_endpoint.routes import TokenRoutes, read_routes
from exchanger.commands.demo.token_endpoint.rules import Refuse
from exchanger.commands.scenarios.answer import Exchanged, Reached, RequestedTarget, ScenarioAnswer, Upstream
from exchanger.commands.scenarios.expectation import ExpectedAnswer
from exchanger.commands.scenarios.go_format.scenario_file import GoValues
from exchanger.commands.scenarios.reader import MAX_PROBLEMS, UnusableScenarios, read_scenarios
from exchanger.commands.scenarios.scenario import EqualRequests, GatewayCall, LooseRequest, OneRequest, PolicyEdit, Scenario
from exchanger.commands.scenarios.tokens import Subject

# Scenarios as they may be written down, and the file that says them: JSON, which is YAML.


_REACHED = {Reached.WITHOUT_TOKEN: "no token", Reached.WITH_ORIGINAL: "original token"}

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
lines = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
header_names = st.from_regex(r"[Xx]-[A-Za-z0-9]{1,8}", fullmatch=True)
headers = st.lists(st.tuples(header_names, lines), max_size=3).map(tuple)
calls = st.builds(
    GatewayCall,
    host=st.from_regex(r"[a-z0-9-]{1,10}\.example(:[0-9]{1,5})?", fullmatch=True),
    path=lines.map(lambda text: f"/{text}"),
    subject=st.sampled_from(Subject),
    method=st.sampled_from(["GET", "POST", "OPTIONS"]),
    headers=headers,
)
targets = st.builds(
    RequestedTarget, scope=texts, resources=st.lists(texts, max_size=2).map(tuple), audiences=st.lists(texts, max_size=2).map(tuple)
)
upstreams: st.SearchStrategy[Upstream] = st.one_of(st.sampled_from(list(_REACHED)), targets.map(Exchanged))
answers = st.one_of(
    st.builds(
        ScenarioAnswer, status=st.integers(200, 599), body=texts, challenges=st.lists(texts, max_size=2).map(tuple), content_type=texts
    ),
    st.builds(ScenarioAnswer, status=st.integers(200, 599), upstream=upstreams),
)
_edits = st.tuples(lines, lines).filter(lambda pair: pair[0] != pair[1])
_common: dict[str, Any] = {"name": names, "watch": lines, "call": calls, "expected": answers}
scenarios: st.SearchStrategy[Scenario] = st.one_of(
    st.builds(OneRequest, **_common),
    st.builds(EqualRequests, **_common, count=st.integers(2, 100)),
    st.builds(
        lambda edit, **common: PolicyEdit(**common, old=edit[0], new=edit[1]),
        **_common,
        edited=answers,
        file=st.sampled_from(["team.yaml", "a.yml"]),
        edit=_edits,
    ),
)
scenario_lists = st.lists(scenarios, min_size=1, max_size=4, unique_by=lambda scenario: scenario.name).map(tuple)


def file_of(scenarios: tuple[Scenario, ...]) -> dict[str, Any]:
    """The file that says these, as a tree."""
    return {"version": "v1", "scenarios": [_scenario(scenario) for scenario in scenarios]}


def text_of(tree: Any) -> str:
    return json.dumps(tree, indent=1)


def _scenario(scenario: Scenario) -> dict[str, Any]:
    call = scenario.call
    assert isinstance(scenario.expected, ScenarioAnswer)  # the format that is ours
    tree: dict[str, Any] = {
        "name": scenario.name,
        "watch": scenario.watch,
        "request": {
            "host": call.host,
            "path": call.path,
            "subject": call.subject.value,
            "method": call.method,
            "headers": [{"name": name, "value": value} for name, value in call.headers],
        },
        "expect": _answer(scenario.expected),
    }
    if isinstance(scenario, EqualRequests):
        tree["at_once"] = scenario.count
    if isinstance(scenario, PolicyEdit):
        tree["edit"] = {"file": scenario.file, "old": scenario.old, "new": scenario.new, "expect": _answer(scenario.edited)}
    return tree


def _answer(answer: ScenarioAnswer) -> dict[str, Any]:
    tree: dict[str, Any] = {"status": answer.status, "challenges": list(answer.challenges), "content_type": answer.content_type}
    match answer.upstream:
        case Reached.NOT:
            tree["body"] = answer.body
        case Exchanged(target):
            tree["upstream"] = {
                "exchanged": {"scope": target.scope, "resources": list(target.resources), "audiences": list(target.audiences)}
            }
        case Reached() as reached:
            tree["upstream"] = _REACHED[reached]
    return tree


# A scenario file says exactly what it says: what is written is read, and whatever else is in it is told with line and field.


PACKAGED: Final = (importlib.resources.files("exchanger.commands.scenarios") / "builtin.yaml").read_text("utf-8")
OPTIONAL: Final = frozenset(
    {"subject", "method", "headers", "challenges", "content_type", "body", "upstream", "scope", "resources", "audiences", "at_once", "edit"}
)
WRONG: Final[dict[str, Any]] = {"nothing": None, "a number": 5.5, "a truth": True, "a list": [[]], "a mapping": {"no": "where"}}


def readable(read: tuple[Scenario, ...] | UnusableScenarios, lines: int) -> None:
    """Either scenarios whose names differ, or problems, each a line that can be shown."""
    if isinstance(read, UnusableScenarios):
        assert 0 < len(read.problems) <= MAX_PROBLEMS
        for problem in read.problems:
            assert problem.line is None or 1 <= problem.line <= lines
            assert problem.lined.isprintable()
    else:
        assert len({scenario.name for scenario in read}) == len(read) > 0


def mappings(tree: Any) -> list[dict[str, Any]]:
    """All mappings in a tree, the outer ones first."""
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return [*([tree] if isinstance(tree, dict) else []), *(found for part in inner for found in mappings(part))]


def shuffled(tree: Any, data: st.DataObject) -> Any:
    if isinstance(tree, list):
        return [shuffled(part, data) for part in tree]
    if isinstance(tree, dict):
        return {key: shuffled(tree[key], data) for key in data.draw(st.permutations(list(tree)))}
    return tree


@given(scenario_lists)
def test_what_is_written_is_read(scenarios: tuple[Scenario, ...]) -> None:
    assert read_scenarios(text_of(file_of(scenarios))) == scenarios


@given(scenario_lists, st.data())
def test_the_order_of_fields_says_nothing(scenarios: tuple[Scenario, ...], data: st.DataObject) -> None:
    assert read_scenarios(text_of(shuffled(file_of(scenarios), data))) == scenarios


@given(scenario_lists, st.data())
def test_an_unknown_field_is_told_with_its_line(scenarios: tuple[Scenario, ...], data: st.DataObject) -> None:
    tree = file_of(scenarios)
    data.draw(st.sampled_from(mappings(tree)))["surplus"] = 1
    text = text_of(tree)
    read = read_scenarios(text)
    assert isinstance(read, UnusableScenarios)
    (line,) = [number for number, line in enumerate(text.splitlines(), 1) if '"surplus"' in line]
    assert [problem.line for problem in read.problems if "surplus" in problem.text] == [line]


@given(scenario_lists, st.data())
def test_a_wrong_type_is_told_with_line_and_field(scenarios: tuple[Scenario, ...], data: st.DataObject) -> None:
    tree = file_of(scenarios)
    mapping = data.draw(st.sampled_from(mappings(tree)))
    name = data.draw(st.sampled_from(list(mapping)))
    kept = copy.deepcopy(mapping[name])
    mapping[name] = WRONG[data.draw(st.sampled_from(list(WRONG)))]
    text = text_of(tree)
    read = read_scenarios(text)
    assert isinstance(read, UnusableScenarios), (name, kept, mapping[name])
    readable(read, text.count("\n") + 1)
    assert any(name in problem.text and problem.line is not None for problem in read.problems)


@given(scenario_lists, st.data())
def test_a_field_that_is_missing_is_told_unless_it_may_be(scenarios: tuple[Scenario, ...], data: st.DataObject) -> None:
    tree = file_of(scenarios)
    mapping = data.draw(st.sampled_from(mappings(tree)))
    name = data.draw(st.sampled_from(list(mapping)))
    del mapping[name]
    read = read_scenarios(text_of(tree))
    assert isinstance(read, UnusableScenarios) == (name not in OPTIONAL)
    if isinstance(read, UnusableScenarios):
        assert name in {problem.field.rpartition(".")[2] for problem in read.problems}


@given(st.data())
def test_a_damaged_file_is_read_or_told_and_never_raises(data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(PACKAGED)))
    end = begin + data.draw(st.integers(0, 40))
    text = PACKAGED[:begin] + data.draw(st.one_of(st.text(max_size=8), st.sampled_from(list("{}[]&*!|>%@`'\":-#,?\t\n")))) + PACKAGED[end:]
    # YAML's own line ends are more than \n.
    readable(read_scenarios(text), len(text.splitlines()) + 1)


@example("host: \U00018d09 path: /")  # an unassigned character in what was probably meant
@given(st.one_of(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_any_text_is_told_what_is_wrong_with_it(text: str) -> None:
    readable(read_scenarios(text), len(text.splitlines()) + 1)


# Files in the Go project's formats: what is written is read, names in any case, and nothing makes a reader fail.


words = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)
leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
FIELDS = (
    "version scenarios name summary request path token prefill value behavior detail expect status headers routes match response type error"
)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS.split()), inner, max_size=6), max_leaves=20
)
loose_requests = st.builds(
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


@given(st.lists(loose_requests, min_size=1, max_size=4, unique_by=lambda scenario: scenario.name), st.booleans())
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
