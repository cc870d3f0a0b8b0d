from hypothesis import given
from hypothesis import strategies as st

from exchanger.app.environment import Environment, parse_boolean
from exchanger.app.variable_names import MAX_UNKNOWN, unknown_variables, variable_notices
from exchanger.util.duration import parse_duration


@given(st.sampled_from(["1", "true", "yes", "on"]), st.sampled_from(["0", "false", "no", "off"]))
def test_booleans_in_any_case(true: str, false: str) -> None:
    assert parse_boolean(true.upper())
    assert parse_boolean(true)
    assert not parse_boolean(false.upper())
    assert not parse_boolean(false)


def test_every_problem_is_noted_and_repeats_no_value_that_may_be_secret() -> None:
    environment = Environment({"A": "maybe", "B": "0s", "C": "-1", "D": "70000", "E": "yaml", "F": "x", "G": "  ", "H": "secret-value"})
    assert environment.boolean("A", default=True) is True
    assert environment.duration("B", 2.0) == 2.0
    assert environment.integer("C", 7) == 7
    assert environment.port("D", 80) == 80
    assert environment.choice("E", ["json", "console"], "json") == "json"
    assert environment.integer("F", 3) == 3
    assert environment.text("G", "default") == "default"
    assert environment.path("G") is None
    problems = environment.problems()
    assert [problem.split()[0] for problem in problems] == ["A", "B", "C", "D", "E", "F"]
    assert [problem.rpartition(", not ")[2] for problem in problems] == [
        *("a text of 5 characters", "a text of 2 characters", "a text of 2 characters"),
        *("70000", "a text of 4 characters", "a text of 1 character"),
    ]
    assert environment.read("H", parse_duration, 1.0) == 1.0
    assert "secret-value" not in environment.problems()[-1]


def test_service_links_of_kubernetes_are_not_ports() -> None:
    environment = Environment({"METRICS_PORT": "tcp://10.0.0.1:3002", "GRPC_PORT": "x"})
    assert environment.port("METRICS_PORT", 3002) == 3002
    assert environment.port("GRPC_PORT", 3001) == 3001
    ((name, text),) = environment.notes()
    assert name == "METRICS_PORT"
    assert text.startswith("Kubernetes set it for the Service 'metrics', so it is ignored")
    assert environment.problems() == ("GRPC_PORT must be a whole number of 0 or more, not a text of 1 character",)


def test_many_unknown_variables_are_some_and_a_number() -> None:
    told = unknown_variables({f"POLICY_{number:04}": "x" for number in range(100)}, frozenset())
    assert len(told) == MAX_UNKNOWN + 1
    assert told[-1] == ("80 more", "there are no such variables")


def test_notices_of_variables_are_those_that_do_nothing() -> None:
    found = variable_notices({"A_NAME": " ", "A_NAMES": "canary", "OTHER": "x"}, frozenset({"A_NAME"}))
    assert [str(notice) for notice in found] == [
        "variable A_NAME has no effect: it is empty, so the default applies (see the configuration reference)",
        "variable A_NAMES has no effect: there is no such variable; did you mean A_NAME? (see the configuration reference)",
    ]
