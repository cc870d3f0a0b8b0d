"""``exchanger test``: each request gets the decision that is expected of it, or the run fails and says why."""

import io
import json
from pathlib import Path

import pytest

from exchanger.authz.decision.answer import Effect
from exchanger.commands.cases import Case, read_cases
from exchanger.commands.offline.inputs import PolicyInputs
from exchanger.commands.testing import FAILED, PASSED, UNUSABLE, run_tests
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import BASELINE, Source
from tests.commands.examples import GRANTS, config_map, written

GOOD = """\
tests:
  - request: {method: GET, url: https://orders.example.com/orders/1}
    expect: {decision: exchange, policy: team-orders/orders, scope: list read:orders, audiences: [orders-api]}
  - request: {method: GET, url: https://orders.example.com/orders/admin/x}
    expect: {decision: deny}
  - request: {method: GET, url: https://x.example.com/mcp, headers: {Mcp-Name: drop, X: "1"}}
    expect: {decision: deny, policy: team-orders/orders}
  - request: {method: GET, url: https://orders.example.com/orders/1, headers: [{name: Authorization, value: ""}]}
    expect: {decision: refused}
  - request: {method: POST, url: https://orders.example.com/orders/1}
    expect: {decision: unmatched}
"""


def run(tmp_path: Path, cases: str, *, entries: str | None = None, grants: str = "", as_json: bool = False) -> tuple[int, str]:
    policy = written(tmp_path, "policy/a.yaml", config_map() if entries is None else config_map(entries))
    chosen = PolicyInputs(grants=Path(written(tmp_path, "grants.yaml", grants)) if grants else None)
    out = io.StringIO()
    status = run_tests([written(tmp_path, "cases.yaml", cases)], [policy], chosen, as_json=as_json, variables={}, out=out)
    return status, out.getvalue().replace(str(tmp_path), "")


def test_what_is_as_expected_passes_and_every_entry_is_reached(tmp_path: Path) -> None:
    status, said = run(tmp_path, GOOD)
    assert (status, said.splitlines()[-1]) == (PASSED, "5 tests: 5 passed, 0 failed")
    assert said.splitlines()[0] == (
        "ok    /cases.yaml:2  GET https://orders.example.com/orders/1  exchange by team-orders/orders entries[0]"
    )


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ("{decision: allow}", "expected allow, got exchange: an entry asks for an exchange"),
        ("{decision: exchange, policy: team-orders/other}", "expected policy team-orders/other, got team-orders/orders"),
        ("{decision: exchange, scope: list}", 'expected scope "list", got "read:orders list"'),
        ("{decision: exchange, scope: ''}", 'expected scope "", got "read:orders list"'),
        ("{decision: exchange, audiences: []}", "expected audiences [], got [orders-api]"),
        ("{decision: exchange, audiences: [orders-api, b]}", "expected audiences [b, orders-api], got [orders-api]"),
    ],
)
def test_each_difference_fails_and_is_told(tmp_path: Path, expect: str, said: str) -> None:
    case = f"tests:\n  - request: {{method: GET, url: orders.example.com/orders}}\n    expect: {expect}\n"
    status, found = run(tmp_path, case)
    assert status == FAILED
    assert said in found
    assert found.startswith("FAIL  /cases.yaml:2  GET https://orders.example.com/orders")
    assert "1 test: 0 passed, 1 failed" in found
    assert "No test reaches:\n  team-orders/orders entries[1]\n  team-orders/orders entries[2]\n" in found


def test_the_baseline_is_a_policy(tmp_path: Path) -> None:
    case = "tests:\n  - request: {method: GET, url: orders.example.com/internal/x}\n    expect: {decision: deny, policy: %s}\n"
    assert run(tmp_path, case % "baseline", grants=GRANTS)[0] == PASSED
    status, said = run(tmp_path, case % "team-orders/orders", grants=GRANTS)
    assert status == FAILED
    assert "expected policy team-orders/orders, got baseline" in said
    status, said = run(tmp_path, case % "baseline")
    assert status == FAILED
    assert "expected policy baseline, got none" in said


def test_json_has_every_result(tmp_path: Path) -> None:
    status, said = run(tmp_path, GOOD.replace("decision: unmatched", "decision: allow"), as_json=True)
    found = json.loads(said)
    assert (status, found["passed"], found["failed"], found["unreached"]) == (FAILED, 4, 1, [])
    assert found["tests"][4]["differences"] == ["expected allow, got unmatched: no entry applies, so the request passes unchanged"]
    assert found["tests"][0]["decision"]["exchange"]["audiences"] == ["orders-api"]


def test_a_value_is_read_whole() -> None:
    (case,) = read_cases("tests: [{request: {method: get, url: a.example, headers: {A: b}}, expect: {decision: deny, policy: baseline}}]")
    assert isinstance(case, Case)
    assert (case.expect.decision, case.expect.policy, case.expect.scope) == (Effect.DENY, BASELINE, None)
    assert case.question.headers[0] == ("a", "b")
    (case,) = read_cases("tests: [{request: {method: get, url: a.example}, expect: {decision: allow, policy: ' a/b '}}]")
    assert isinstance(case, Case)
    assert case.expect.policy == Source("a", "b")


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["None:None the file is empty"]),
        ("[", ["2:1 the file is not YAML"]),
        ("[]", ["1:1 the file must be a mapping"]),
        ("{}", ["1:1 tests is required"]),
        ("tests: []", ["1:1 the file has no tests"]),
        ("tests: {}", ["1:8 tests must be a list"]),
        ("tests: [x]", ["1:9 tests[0] must be a mapping"]),
        ("tests: [{}]", ["1:9 tests[0].request is required", "1:9 tests[0].expect is required"]),
        ("test: []", ['1:1 the file has an unknown field "test" (did you mean tests?)']),
        ("tests: [{request: x, expect: {decision: deny}}]", ["1:19 tests[0].request must be a mapping"]),
        ("tests: [{request: {method: 5, url: a}, expect: {decision: deny}}]", ["1:28 tests[0].request.method must be text"]),
        (
            "tests: [{request: {method: GET, url: 'https://a:hunter2@b/'}, expect: {decision: deny}}]",
            ["1:19 tests[0].request: the URL has user information"],
        ),
        ("tests: [{request: {method: GET, url: a, headers: x}, expect: {decision: deny}}]", ["1:50 tests[0].request.headers must be a"]),
        (
            "tests: [{request: {method: GET, url: a, headers: {x: 5}}, expect: {decision: deny}}]",
            ["1:54 tests[0].request.headers must have"],
        ),
        (
            "tests: [{request: {method: GET, url: a, headers: [{name: x}]}, expect: {decision: deny}}]",
            ["1:51 tests[0].request.headers[0].value"],
        ),
        ("tests: [{request: {method: GET, url: a}, expect: x}]", ["1:50 tests[0].expect must be a mapping"]),
        ("tests: [{request: {method: GET, url: a}, expect: {}}]", ["1:50 tests[0].expect.decision is required"]),
        ("tests: [{request: {method: GET, url: a}, expect: {decision: alow}}]", ["1:61 tests[0].expect.decision must be one of"]),
        ("tests: [{request: {method: GET, url: a}, expect: {decision: deny, scope: x}}]", ["1:74 tests[0].expect.scope goes with"]),
        ("tests: [{request: {method: GET, url: a}, expect: {decision: exchange, scope: 5}}]", ["1:78 tests[0].expect.scope must be text"]),
        (
            "tests: [{request: {method: GET, url: a}, expect: {decision: exchange, audiences: x}}]",
            ["1:82 tests[0].expect.audiences must be"],
        ),
        (
            "tests: [{request: {method: GET, url: a}, expect: {decision: deny, policy: x}}]",
            ["1:75 tests[0].expect.policy must be NAMESPACE"],
        ),
        (
            "tests: [{request: {method: GET, url: a}, expect: {decision: deny, 5: x}}]",
            ["1:67 tests[0].expect has an unknown field that is"],
        ),
    ],
)
def test_whatever_is_not_understood_is_a_problem_with_its_place(text: str, problems: list[str]) -> None:
    found = read_cases(text)
    said = [f"{one.line}:{one.column} {one.sentence}" for one in found if isinstance(one, Problem)]
    assert len(said) == len(problems)
    for one, expected in zip(said, problems, strict=True):
        assert one.startswith(expected)
        assert "hunter2" not in one


def test_files_that_cannot_be_used_are_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = written(tmp_path, "policy/a.yaml", config_map())
    bad = written(tmp_path, "bad.yaml", "tests:\n  - request: {}\n")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff")
    for files, said in (
        (["none"], "none cannot be read: No such file or directory"),
        ([bad], "bad.yaml:2:5: tests[0].expect is required"),
        ([str(binary)], "is not UTF-8"),
        (["a\0b"], "it is not a path"),
    ):
        assert run_tests(files, [policy], PolicyInputs(), variables={}) == UNUSABLE
        assert said in capsys.readouterr().err
    assert run_tests([bad], [str(tmp_path / "nowhere")], PolicyInputs(), variables={}) == UNUSABLE
    assert run_tests(["-"], ["-"], PolicyInputs(), variables={}) == UNUSABLE


def test_cases_come_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    policy = written(tmp_path, "policy/a.yaml", config_map() + "---\nversion: v1\nentries: []\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
    assert run_tests(["-"], [policy], PolicyInputs(), variables={}) == PASSED
    said = capsys.readouterr()
    assert said.out.startswith("ok    -:2  GET")
    assert "is a policy that is not in a ConfigMap" in said.err


FORWARDED = """\
tests:
  - request: {method: GET, url: https://orders.example.com/orders/1}
    expect: {decision: exchange}
  - request: {method: GET, url: https://orders.example.com/orders/1, headers: {X-Forwarded-Access-Token: abc}}
    expect: {decision: exchange}
  - request: {method: GET, url: https://orders.example.com/orders/1, headers: {X-Forwarded-Access-Token: "two words"}}
    expect: {decision: refused}
  - request: {method: GET, url: https://orders.example.com/orders/1, headers: {Authorization: Bearer abc, X-Jwt: abc}}
    expect: {decision: exchange}
  - request: {method: GET, url: https://orders.example.com/orders/1, headers: {X-Forwarded-Access-Token: abc, X-Jwt: abc}}
    expect: {decision: exchange}
  - request: {method: GET, url: https://orders.example.com/orders/1, headers: {X-Forwarded-Access-Token: abc, X-Jwt: other}}
    expect: {decision: refused}
  - request: {method: GET, url: https://orders.example.com/orders/1, headers: {Authorization: Bearer abc}}
    expect: {decision: refused}
"""
PROFILE = """\
issuers:
  - name: primary
    tokenEndpoint: https://login.example.com/token
    clientID: exchanger
    clientSecret: not-a-secret-of-anybody
    subjectToken: {from: [{header: X-Forwarded-Access-Token}, {header: X-Jwt}]}
"""


def test_tokens_are_where_the_profile_reads_them(tmp_path: Path) -> None:
    chosen = PolicyInputs(issuers=Path(written(tmp_path, "issuers.yaml", PROFILE)))
    files = [written(tmp_path, "cases.yaml", FORWARDED)], [written(tmp_path, "policy/a.yaml", config_map())]
    out = io.StringIO()
    assert run_tests(*files, chosen, variables={}, out=out) == PASSED
    assert out.getvalue().count("\nok ") + out.getvalue().startswith("ok ") == 7
    assert "abc" not in out.getvalue()
