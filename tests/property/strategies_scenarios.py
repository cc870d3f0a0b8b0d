"""Scenarios as they may be written down, and the file that says them: JSON, which is YAML."""

import json
from typing import Any

from hypothesis import strategies as st

from exchanger.scenarios.answer import Exchanged, Reached, RequestedTarget, ScenarioAnswer, Upstream
from exchanger.scenarios.scenario import EqualRequests, GatewayCall, OneRequest, PolicyEdit, Scenario
from exchanger.scenarios.tokens import Subject

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
