from exchanger.console.policy_view import claims_of, shown_document, shown_problem
from exchanger.policy.document import parse_document
from exchanger.values.entry import Source

DOCUMENT = parse_document(
    Source("team", "policy"),
    "version: v1\nentries:\n- {match: {host: 'a,b', pathPrefix: /x}, action: deny}\n- {match: {host: c, pathPrefix: /*}, action: deny}\n",
    frozenset(),
)


def test_an_entry_that_closes_several_hosts_is_one_problem() -> None:
    shown = [shown_problem(region) for region in DOCUMENT.problems]
    assert [(problem["entry"], problem["line"]) for problem in shown] == [(0, 3), (1, 4)]
    assert shown_document(DOCUMENT, "problems")["problems"] == shown


def test_each_host_that_it_closes_is_shown() -> None:
    assert [(claim.index, claim.match.host, claim.match.path_prefix) for claim in claims_of(DOCUMENT)] == [
        (0, "a", "/x"),
        (0, "b", "/x"),
        (1, "c", ""),
    ]
