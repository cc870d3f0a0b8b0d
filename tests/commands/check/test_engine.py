"""What a check finds: everything, each thing at its place, and what is probably a mistake."""

import json
import time

import attrs
import pytest

from exchanger.commands.check.engine import MAX_PROBLEMS, check
from exchanger.commands.check.files import MAX_PIECES, read_file
from exchanger.model.codes.code import Code, Example, Severity
from exchanger.model.codes.manifests import UNCOVERED_PATHS
from exchanger.model.codes.registry import CODES
from exchanger.policy.depth import MAX_DEPTH
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.mistakes import MAX_METHODS
from exchanger.sources.directory.manifest import MAX_FILE_BYTES
from tests.commands.check.checking import LABEL, checked, codes, config_map, entries, found, rules
from tests.commands.check.reports import FILE, reports
from tests.model.codes.reaching import ISSUERS

DENY = "{match: {host: api.example.com, pathPrefix: /orders}, action: deny}"
NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team, labels: {ext-authz-token-exchange.magneticflux.net/policy: enabled}}\n"


@pytest.mark.parametrize(
    "code", [code for code in CODES if code.kind in {Example.POLICY, Example.GRANTED_POLICY, Example.MANIFESTS} and code.example], ids=str
)
def test_the_example_of_each_code_is_found(code: Code) -> None:
    text = code.example if code.kind is Example.MANIFESTS else _as_file(code.example)
    # A policy without entries is nothing to complain about before it is active.
    expected = code.name != "POL-3104"
    assert (code.name in codes(checked(text, by=rules(code.grants, ISSUERS), with_uncovered=True))) is expected


def _as_file(document: str) -> str:
    metadata = {"name": "policy", "namespace": "team", "labels": _LABELS}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"config.yaml": document}})


_LABELS = {"ext-authz-token-exchange.magneticflux.net/enabled": "true"}


def test_what_is_said_of_each_example_is_the_recorded_report() -> None:
    assert "".join(reports()) == FILE.read_text()


def test_a_clean_file_has_no_problems() -> None:
    result = checked(f"{NAMESPACE}---\n{config_map(entries(DENY))}")
    assert (result.problems, len(result.documents)) == ((), 1)


def test_every_problem_of_an_entry_is_found_at_its_place() -> None:
    match = "  - match:\n      host: a b\n      pathprefix: /x\n      methods: [GET, 1, 2]\n"
    text = config_map(f"version: v1\nentries:\n{match}    acton: deny\n    more: 1\n")
    assert found(checked(text)) == [
        ("POL-1202", "0.yaml", 13, 17),
        ("POL-1101", "0.yaml", 14, 11),
        ("POL-1103", "0.yaml", 15, 26),
        ("POL-1103", "0.yaml", 15, 29),
        ("POL-1101", "0.yaml", 16, 9),
        ("POL-1101", "0.yaml", 17, 9),
    ]


@pytest.mark.parametrize(
    ("entry", "remedy"),
    [
        ("{match: {host: a, path: /orders}, action: deny}", "Write pathPrefix."),
        ("{match: {hostname: a, pathPrefix: /}, action: deny}", "Write host."),
        ("{match: {host: a, pathPrefix: /}, action: exchange, exchange: {issuer: primary, scope: a}}", "Write issuerRef."),
        ("{match: {host: a, pathPrefix: /}, action: exchange, exchange: {issuerRef: primary, scopes: a}}", "Write scope."),
        ("{match: {host: a, pathPrefix: /}, action: exchange, exchange: {issuerRef: primary, scope: [a, b]}}", 'Write "a b".'),
        ("{match: {host: a, pathPrefix: /}, action: exchange, exchange: {issuerRef: primary, scope: {a: b}}}", 'Write "a: b".'),
        ("{match: {host: {{ x }}, pathPrefix: /}, action: deny}", "Render the template first."),
        ("{match: {host: a, pathPrefix: /, caseInsensitive: 'true'}, action: deny}", "Write true without quotation marks."),
        ("{match: , host: a, pathPrefix: /, action: deny}", "Indent host, pathPrefix below match."),
        (
            "{match: {host: .example.com, pathPrefix: /}, action: deny}",
            'Write "*.example.com" for all hosts below example.com, or example.com for that host alone.',
        ),
    ],
)
def test_one_mistake_is_one_problem_whose_remedy_says_what_its_message_says(entry: str, remedy: str) -> None:
    (problem,) = (one.problem for one in checked(config_map(entries(entry))).problems if one.problem.code.severity is Severity.ERROR)
    assert problem.remedy == remedy


def test_the_version_has_another_name_in_kubernetes() -> None:
    (problem,) = checked(config_map(f"apiVersion: v1\nentries:\n  - {DENY}\n")).problems
    assert (problem.problem.code.name, problem.problem.remedy) == ("POL-1101", "Write version.")


def test_remedy_of_a_warning_does_not_insist_on_its_guess() -> None:
    near = DENY.replace("api.example", "api.exmaple").replace("/orders", "/users")
    (found,) = (one.problem for one in checked(config_map(entries(DENY, near))).problems if one.problem.code.name == "POL-2105")
    assert (found.hint, found.remedy) == ("api.example.com", found.code.remedy)


def test_entries_without_a_config_map_are_named_by_their_file() -> None:
    twice = read_file("two.yaml", entries(DENY, DENY).encode(), may_be_bare=True)
    (first, _) = (one.problem.text for one in check((twice,), rules()).problems if one.problem.code.name == "POL-2102")
    assert first == "entries[0] is the same as two.yaml entries[1]: requests that they cover are refused"


def test_problems_of_the_document_do_not_hide_those_of_its_entries() -> None:
    result = checked(config_map(f"version: v2\nother: 1\nentries:\n  - {DENY}\n  - {{}}\n"))
    assert codes(result) == ["POL-1007", "POL-1101", "POL-1102", "POL-1102"]


def test_a_duplicate_key_does_not_hide_the_rest() -> None:
    text = config_map("version: v1\nentries:\n  - match: {host: a, pathPrefix: /}\n    match: {}\n    acton: deny\n  - {}\n")
    assert codes(checked(text)) == ["POL-1006", "POL-1101", "POL-1102", "POL-1102"]


@pytest.mark.parametrize(
    ("line", "hint", "column"),
    [
        ("  - match: {host: *.example.com, pathPrefix: /}", '"*.example.com"', 23),
        ("  {{- if .Values.x }}", "to render the template first", 7),
        ("\t- match: {host: a}", "spaces instead of the tab", 5),
        ("  - match: {host: @a, pathPrefix: /}", "to put it in quotation marks", 23),
        ("  - exchange:\n      scope: read: orders", '"read: orders"', None),
        ("  - exchange: {issuerRef: a, scope: read: orders}", '"read: orders"', 41),
        ("  - exchange: {scope: read: orders, issuerRef: a} # why", '"read: orders"', 27),
        ("  - exchange: {audiences: [read: b: c], scope: a}", '"b: c"', None),
        ("  - exchange: {scope: 'read': orders}", "", None),
        ("  - match: {headers: [{name: x-key, value: canary: hunter2}]}", "to put it in quotation marks", None),
        ("  - clientSecret: canary: hunter2", "to put it in quotation marks", None),
        ("  - match: {host: a, pathPrefix: [}", "", None),
        ("  - match:\n      host: a\n     pathPrefix: /", "to indent this line like its neighbours", None),
        ("  - match:\n      host: a\n        pathPrefix: /", "to indent this line like its neighbours", None),
        ("  - match:\n      host: a\n   action: deny", "to indent this line like its neighbours", None),
        ("  - match: {host: a\n    action: deny", "a comma or a closing bracket before it", None),
    ],
)
def test_what_was_meant_by_broken_yaml_is_guessed(line: str, hint: str, column: int | None) -> None:
    (problem,) = checked(config_map(f"version: v1\nentries:\n{line}\n    action: deny\n")).problems
    assert (problem.problem.code.name, problem.problem.hint) == ("POL-1003", hint)
    assert column in {None, problem.place.column}
    (problem, *_) = checked(f"a: 1\nb:\n{line}\n").problems
    assert (problem.problem.code.name, problem.problem.hint) == ("POL-3001", hint)


def test_a_broken_document_of_a_file_does_not_hide_the_others() -> None:
    text = f"a: '\n---\n{config_map(entries('{action: deny}'))}---\nkind: [\n---\n" + config_map(entries(DENY), "b", label="a: 1")
    result = checked(text)
    assert codes(result) == ["POL-3001", "POL-1102", "POL-3001", "POL-3102", "POL-3003"]
    assert found(result)[0][2] in {1, 2}
    lines = text.splitlines()
    assert "match" not in lines[(found(result)[1][2] or 0) - 2]
    assert lines[(found(result)[1][2] or 0) - 1].strip() == "- {action: deny}"


def test_label_that_is_no_string_is_found_and_the_policy_checked() -> None:
    text = config_map(entries("{action: deny}"), label=LABEL.replace('"', ""))
    assert codes(checked(text)) == ["POL-3003", "POL-1102"]
    (label, _) = checked(text).problems
    assert (label.place.line, label.problem.instead) == (7, '"true"')


def test_a_policy_that_is_not_in_a_config_map_is_checked_too() -> None:
    assert found(checked(entries("{match: {host: a, pathPrefix: /}, action: dny}"))) == [
        ("POL-3004", "0.yaml", 1, 1),
        ("POL-1104", "0.yaml", 3, 47),
    ]


def test_lists_and_json_are_read() -> None:
    item = {"metadata": {"name": "a", "labels": _LABELS}, "data": {"config.yaml": "version: v1\nentries: [{}]"}}
    text = json.dumps({"apiVersion": "v1", "kind": "ConfigMapList", "items": [item]}, indent=1)
    result = checked(text, ending=".json")
    assert codes(result) == ["POL-1102", "POL-1102"]
    assert {line for _, _, line, _ in found(result)} == {text[: text.index("config.yaml")].count("\n") + 1}
    surrogates = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", **item, "a": "\N{GRINNING FACE}"})
    assert codes(checked(surrogates, ending=".json")) == ["POL-1102", "POL-1102"]


def test_conflicts_between_files_are_found_at_both_places() -> None:
    one, two = (
        config_map(entries(DENY)),
        config_map(entries("{match: {host: API.example.com, pathPrefix: /orders}, action: deny}"), name="b"),
    )
    result = checked(one, two)
    assert found(result) == [("POL-2102", "0.yaml", 12, 9), ("POL-2102", "1.yaml", 12, 9)]
    assert result.problems[0].rivals == (("1.yaml", result.problems[1].place),)
    other = two.replace("action: deny", "action: exchange, exchange: {issuerRef: a, scope: b}")
    assert codes(checked(one, other)) == ["POL-2101", "POL-2101"]


def test_exchanges_that_differ_in_their_metadata_alone_conflict() -> None:
    exchange = "{match: {host: a.example, pathPrefix: /}, action: exchange, exchange: {issuerRef: primary, scope: s}}"
    other = exchange.replace("scope: s", "scope: s, resourceMetadata: https://a.example/m")
    assert codes(checked(config_map(entries(exchange, exchange)))) == ["POL-2102", "POL-2102"]
    assert codes(checked(config_map(entries(exchange, other)))) == ["POL-2101", "POL-2101"]


def test_the_same_config_map_twice_is_found_if_the_documents_differ() -> None:
    one = config_map(entries(DENY))
    assert codes(checked(one, one)) == []
    assert codes(checked(one, one.replace("/orders", "/other"))) == ["POL-1008"]


def test_unknown_issuers_are_found_only_if_issuers_are_known() -> None:
    text = config_map(entries("{match: {host: a, pathPrefix: /}, action: exchange, exchange: {issuerRef: primery, scope: a}}"))
    assert codes(checked(text)) == []
    (problem,) = checked(text, by=rules(issuers=ISSUERS)).problems
    assert (problem.problem.code.name, problem.problem.hint) == ("POL-1105", "primary")


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (LABEL, []),
        (LABEL.replace("enabled", "enabeld"), ["POL-3102"]),
        (LABEL.replace('"true"', '"yes"'), ["POL-3102"]),
        (LABEL.replace('"true"', '"false"'), []),
        ("app: shop", ["POL-3102"]),
    ],
)
def test_labels_that_miss_the_selector_are_found(label: str, expected: list[str]) -> None:
    assert codes(checked(config_map(entries(DENY), label=label))) == expected


def test_a_config_map_without_labels_is_marked_itself() -> None:
    config = config_map(entries(DENY)).replace(f"  labels:\n    {LABEL}\n", "")
    assert found(checked(config)) == [("POL-3102", "0.yaml", 1, 1)]


def test_a_label_that_misses_is_marked_where_it_stands() -> None:
    (problem,) = checked(config_map(entries(DENY), label=LABEL.replace("enabled", "enabeld"))).problems
    assert (problem.place.line, problem.place.column) == (7, 5)
    (problem,) = checked(NAMESPACE.replace("policy:", "polcy:")).problems
    assert (problem.problem.code.name, problem.place.line, problem.place.column) == ("POL-3101", 3, 33)


def test_unselected_namespace_is_found_and_an_absent_one_is_not() -> None:
    assert codes(checked(NAMESPACE.replace("policy: enabled", "other: x"), config_map(entries(DENY)))) == ["POL-3103"]
    assert codes(checked(config_map(entries(DENY)))) == []


def test_other_config_maps_and_kinds_are_no_policies() -> None:
    other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {nginx.conf: x, config.yaml: 'level: debug'}\n"
    assert codes(checked(other, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n", "replicas: 1\n")) == []


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("pathPrefix: /orders", "pathPrefix: /orders/", ["POL-2104"]),
        ("pathPrefix: /orders", "pathPrefix: /Orders", ["POL-2104"]),
        ("pathPrefix: /orders", "pathPrefix: /orders/x", []),
        ("pathPrefix: /orders", "pathPrefix: /order", []),
        ("pathPrefix: /", "pathPrefix: /, pathType: Exact", []),
        ("pathPrefix: /", "pathPrefix: /, pathType: Segment", ["POL-2103"]),
        ("pathPrefix: /orders", "pathPrefix: /orders, pathType: Segment", []),
        ("pathPrefix: /orders", "pathPrefix: /Orders, caseInsensitive: true", ["POL-2101", "POL-2101"]),
        ("pathPrefix: /orders, caseInsensitive: true", "pathPrefix: /orders/", []),
    ],
)
def test_entries_that_are_near_each_other(first: str, second: str, expected: list[str]) -> None:
    lines = [f"{{match: {{host: api.example.com, {match}}}, action: deny}}" for match in (first, second)]
    assert codes(checked(config_map(entries(*lines)))) == expected


EXCHANGE = "action: exchange, exchange: {issuerRef: primary, scope: read}"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("pathPrefix: /, methods: [GET]}, action: deny", f"pathPrefix: /orders, methods: [HEAD]}}, {EXCHANGE}", ["POL-2107"]),
        ("pathPrefix: /}, action: deny", f"pathPrefix: /orders, methods: [HEAD]}}, {EXCHANGE}", ["POL-2107"]),
        ("pathPrefix: /orders, methods: [GET]}, action: deny", f"pathPrefix: /orders, methods: [HEAD, PUT]}}, {EXCHANGE}", ["POL-2107"]),
        (f"pathPrefix: /, methods: [GET]}}, {EXCHANGE}", f"pathPrefix: /orders, methods: [HEAD]}}, {EXCHANGE}", []),
        (f"pathPrefix: /, methods: [GET]}}, {EXCHANGE}", "pathPrefix: /orders, methods: [HEAD]}, action: deny", []),
        (f"pathPrefix: /, methods: [PUT]}}, {EXCHANGE}", f"pathPrefix: /orders, methods: [HEAD]}}, {EXCHANGE}", []),
        ("pathPrefix: /orders/x, methods: [GET]}, action: deny", f"pathPrefix: /orders, methods: [GET, HEAD]}}, {EXCHANGE}", []),
        # Where the entry does not come first for HEAD itself, others are nearer, and nothing is said of GET.
        (
            "pathPrefix: /orders, pathType: Segment}, action: deny",
            f"pathPrefix: /orders, pathType: Exact, methods: [PUT]}}, {EXCHANGE}",
            [],
        ),
    ],
)
def test_an_entry_for_head_that_get_overrides_is_named(first: str, second: str, expected: list[str]) -> None:
    result = checked(config_map(entries(*(f"{{match: {{host: api.example.com, {match}}}" for match in (first, second)))))
    assert codes(result) == expected
    for one in result.problems:
        source = one.policy
        assert one.problem.text == f"entries[1] is for HEAD, which gets the stricter decision that {source} entries[0] makes for GET"
        assert one.problem.field == "entries[1].match.methods"


@pytest.mark.parametrize("prefix", ["/a", "/a!c"])
def test_an_entry_that_others_cover_together_is_unreachable(prefix: str) -> None:
    lines = [
        f"{{match: {{host: api.example.com, {match}}}, action: deny}}"
        for match in (f"pathPrefix: {prefix}, pathType: Segment", f"pathPrefix: {prefix}, pathType: Exact", f"pathPrefix: {prefix}/")
    ]
    # A "!" in a prefix is one, and not a byte that the gateway could not write.
    result = checked(config_map(entries(*lines, f"{{match: {{host: api.example.com, pathPrefix: /ac}}, {EXCHANGE}}}")))
    assert codes(result) == ["POL-2103", "POL-2104"]
    assert codes(checked(config_map(entries(*lines[:2])))) == []


@pytest.mark.parametrize(
    ("methods", "of_rival", "expected"),
    [(MAX_METHODS, MAX_METHODS, ["POL-2103"]), (MAX_METHODS, MAX_METHODS - 1, []), (MAX_METHODS + 1, MAX_METHODS, [])],
)
def test_an_entry_is_only_called_unreachable_if_all_its_methods_were_asked(methods: int, of_rival: int, expected: list[str]) -> None:
    named = [f"M{number:02}" for number in range(methods)]
    lines = [
        f"{{match: {{host: a, pathPrefix: /, {more}methods: [{', '.join(some)}]}}, action: deny}}"
        for more, some in (("pathType: Segment, ", named[:of_rival]), ("", named))
    ]
    assert codes(checked(config_map(entries(*lines)))) == expected


@pytest.mark.parametrize(
    ("hosts", "wrong"),
    [
        (["api.example.com", "api.example.com", "api.exmaple.com"], 2),
        (["api.exmaple.com", "api.example.com", "api.example.com"], 0),
        (["api.example.com", "apis.example.com"], 1),
        (["api.example.com", "api.example.com", "apis.example.com", "apis.example.com"], None),
        (["api1.example.com", "api2.example.com"], None),
        (["api.example.com", "billing.example.com"], None),
        (["*.example.com", "*.exmaple.com"], 1),
    ],
)
def test_a_host_one_edit_away_from_another_is_found(hosts: list[str], wrong: int | None) -> None:
    lines = [f'{{match: {{host: "{host}", pathPrefix: /{number}}}, action: deny}}' for number, host in enumerate(hosts)]
    result = checked(config_map(entries(*lines)))
    assert [one.problem.entry for one in result.problems] == ([] if wrong is None else [wrong])
    assert set(codes(result)) <= {"POL-2105"}


def test_what_is_near_something_is_marked_at_its_field() -> None:
    lines = [DENY, DENY.replace("/orders", "/orders/"), DENY.replace("api.example", "api.exmaple").replace("/orders", "/x")]
    prefix, host = checked(config_map(entries(*lines))).problems
    assert prefix.problem.text.endswith("by a trailing slash alone")
    assert (prefix.place.line, prefix.place.column) == (13, lines[1].index("/orders/") + 9)
    assert (host.place.line, host.place.column, host.problem.hint) == (14, lines[2].index("api.") + 9, "api.example.com")


@pytest.mark.parametrize("more", [[], ["{match: {host: a, pathPrefix: /tx}, action: deny}"]])
def test_a_denial_that_leaving_a_header_out_evades_is_found(more: list[str]) -> None:
    deny = "{match: {host: a, pathPrefix: /t!x, headers: [{name: x-tool, value: drop}]}, action: deny}"
    lone = checked(config_map(entries(deny)))
    assert codes(lone) == ["POL-2106"]
    assert "no entry decides" in lone.problems[0].problem.text
    closed = deny.replace("headers: [{name: x-tool, value: drop}]", "methods: [GET, PUT]")
    assert codes(checked(config_map(entries(deny.replace("t!x, ", "t!x, methods: [GET], "), closed)))) == []
    exchange = "{match: {host: a, pathPrefix: /}, action: exchange, exchange: {issuerRef: a, scope: b}}"
    both = checked(config_map(entries(deny, exchange, *more)))
    assert codes(both) == ["POL-2106"]
    assert both.problems[0].problem.text.endswith("without the header team/policy entries[1] exchanges the token")


@pytest.mark.parametrize(
    ("target", "char"),
    [
        ('scope: "*"', "*"),
        ('scope: "a,b"', ","),
        ('scope: "read:*"', "*"),
        ('scope: a, audiences: [b, "orders-*"]', "*"),
        ('scope: a, audiences: ["a,b"]', ","),
        ('scope: a, resources: ["https://a.example/*"]', "*"),
    ],
)
def test_a_target_that_looks_like_a_pattern_or_a_list_is_literal(target: str, char: str) -> None:
    match = "host: api.example.com, pathPrefix: /orders"
    text = config_map(entries(f"{{match: {{{match}}}, action: exchange, exchange: {{issuerRef: primary, {target}}}}}"))
    result = checked(text)
    assert (codes(result), result.count(Severity.NOTICE)) == (["POL-1903"], 1)
    assert result.problems[0].problem.text.endswith(f'in which the "{char}" is literal')
    assert result.problems[0].place.column == text.splitlines()[11].index(target.rsplit(maxsplit=1)[-1].strip("[]")) + 1


def test_a_star_in_the_value_of_a_header_is_literal() -> None:
    match = "host: api.example.com, pathPrefix: /orders"
    entry = f"{{match: {{{match}, headers: [{{name: x-tool, value: 'read*'}}]}}, action: deny}}"
    result = checked(config_map(entries(entry, f"{{match: {{{match}}}, action: deny}}")))
    assert (codes(result), result.count(Severity.NOTICE)) == (["POL-1903"], 1)
    plain = entry.replace("read*", "read").replace("action: deny", "action: exchange, exchange: {issuerRef: a, scope: 'a b:c'}")
    assert codes(checked(config_map(entries(plain)))) == []


@pytest.mark.parametrize("written", ["", " ~", " null  # for now"])
def test_entries_that_were_commented_out_are_a_notice(written: str) -> None:
    (found,) = checked(config_map(f"version: v1\nentries:{written}\n")).problems
    assert (found.problem.code.name, found.problem.code.severity, found.problem.field) == ("POL-1906", Severity.NOTICE, "entries")


def test_empty_entries_are_meant() -> None:
    assert codes(checked(config_map("version: v1\nentries: []\n"))) == []


def test_a_method_beside_the_one_it_resembles_is_meant() -> None:
    assert codes(checked(config_map(entries("{match: {host: a, pathPrefix: /, methods: [HEAD, READ]}, action: deny}")))) == []


@pytest.mark.parametrize("entry", ["host: 'a:443', pathPrefix: /", "host: a, pathPrefix: /, methods: [GTE]", "host: a, pathPrefix: /x/"])
def test_comments_accept_what_is_probably_a_mistake(entry: str) -> None:
    line = f"{{match: {{{entry}}}, action: deny}} # exchanger: ignore POL-1904, POL-1905, POL-2110"
    result = checked(config_map(entries(line)))
    assert (codes(result), len(result.ignored)) == ([], 1)


def test_a_denial_that_ends_in_a_slash_says_who_decides_without_it() -> None:
    deny = "{match: {host: a, pathPrefix: /admin/}, action: deny}"
    (found,) = checked(config_map(entries(f"{{match: {{host: a, pathPrefix: /}}, {EXCHANGE}}}", deny))).problems
    text = 'entries[1] denies "/admin/", which does not cover "/admin": there team/policy entries[0] exchanges the token'
    assert (found.problem.text, found.problem.hint) == (text, "/admin with pathType: Segment")
    assert [place.line for _, place in found.rivals] == [12]
    (found,) = checked(config_map(entries(deny))).problems
    assert "no entry decides" in found.problem.text


def test_a_denial_with_a_header_that_has_an_exclamation_mark_says_who_decides_without_its_slash() -> None:
    headers = "headers: [{name: x-tool, value: 'drop!'}]"
    deny = f"{{match: {{host: a, pathPrefix: /admin/, {headers}}}, action: deny}}"
    exchange = f"{{match: {{host: a, pathPrefix: /, {headers}}}, {EXCHANGE}}}"
    by_header, without_slash = checked(config_map(entries(exchange, deny))).problems
    assert "denies by header" in by_header.problem.text
    assert "there team/policy entries[0] exchanges the token" in without_slash.problem.text


def test_grants_are_held_against_the_policies() -> None:
    grants = "version: v1\ngrants:\n  - namespaces: [team]\n    hosts: [api.example.com]\n    pathPrefixes: [/orders]\n"
    assert codes(checked(config_map(entries(DENY)), by=rules(grants))) == []
    outside = config_map(entries(DENY.replace("api.", "www."), DENY.replace("/orders", "/")))
    assert codes(checked(outside, by=rules(grants))) == ["POL-2001", "POL-2002"]
    assert found(checked(outside, by=rules(grants)))[0][2] == 12


def test_the_baseline_is_named_and_has_no_place() -> None:
    grants = "version: v1\ngrants: [{namespaces: [team], hosts: [a], actions: [deny, allow]}]\n"
    baseline = "baseline: [{match: {host: '*', pathPrefix: /i}, action: deny}]\n"
    lines = [
        f"{{match: {{host: a, pathPrefix: {match}"
        for match in (
            "/t, headers: [{name: x, value: y}]}, action: deny}",
            "/}, action: allow}",
            "/i/x}, action: allow}",
            "/i/h, methods: [HEAD]}, action: allow}",
        )
    ]
    result = checked(config_map(entries(*lines)), by=rules(grants + baseline))
    assert codes(result) == ["POL-2106", "POL-2103", "POL-2103"]
    evaded, *unreachable = result.problems
    assert evaded.problem.text.endswith("team/policy entries[1] lets the request pass")
    assert [(one.problem.text.partition(": ")[2], one.rivals) for one in unreachable] == [
        ("/baseline entries[0] decide all that it covers", ())
    ] * 2


def test_an_invalid_entry_outside_the_grants_is_told_with_all_its_problems() -> None:
    grants = "version: v1\ngrants: []\n"
    assert codes(checked(config_map(entries("{match: {host: a, pathPrefix: /}, acton: deny}")), by=rules(grants))) == [
        "POL-2001",
        "POL-1101",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "- " * 50_000,
        "a: &a [x]\n" + "b: [" + "*a, " * 50_000,
        "---\n" * (MAX_PIECES + 10) + "a: [",
        "---\na: [\n" * 500,
        config_map(entries(*["{" + ", ".join(f"f{number}: 1" for number in range(200)) + "}"] * 300)),
        config_map("version: v1\nentries:\n" + "  - {match: {host: a, pathPrefix: /}, action: deny}\n" * 4_000),
        config_map(entries(*(f"{{match: {{host: h{number}.example.com, pathPrefix: /}}, action: deny}}" for number in range(3_000)))),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {x: 1}}\ndata: {config.yaml: '" + "a" * 500_000 + "'}\n",
        "\ufeff" + config_map(entries(DENY)),
        "a: \x00",
        "\ud800",
    ],
    ids=range(12),
)
def test_no_file_takes_long(text: str) -> None:
    began = time.process_time()
    result = checked(text)
    assert len(result.problems) <= MAX_PROBLEMS
    assert time.process_time() - began < 60  # a bound that only work without one misses, however slow the machine


def test_a_file_that_is_too_large_or_no_text_is_found() -> None:
    assert codes(checked("a" * (MAX_FILE_BYTES + 1))) == ["POL-3002"]
    assert codes(checked("")) == ["POL-3006"]


def test_what_a_namespace_may_not_have_is_found() -> None:
    limits = NamespaceLimits(documents=2, fail_closed_scopes=2)
    by = attrs.evolve(rules(), grants=attrs.evolve(rules().grants, limits=limits))
    clean, broken = entries(DENY), entries("{x: 1}", "{x: 1}", "{x: 1}")
    result = checked(*(config_map(clean, name) for name in "cab"), config_map(clean, "z", namespace="other"), by=by)
    assert [(code, file) for code, file, *_ in found(result) if code == "POL-2204"] == [("POL-2204", "0.yaml")]
    result = checked(config_map(broken, "a"), config_map(clean, "b", namespace="other"), by=by)
    assert [(code, file) for code, file, *_ in found(result) if code == "POL-2203"] == [("POL-2203", "0.yaml")]
    assert codes(result).count("POL-1101") == 3


def test_documents_over_quota_are_named_in_the_order_of_their_names() -> None:
    by = attrs.evolve(rules(), grants=attrs.evolve(rules().grants, limits=NamespaceLimits(entries=3)))
    two = entries(*(f"{{match: {{host: a, pathPrefix: /{name}}}, action: deny}}" for name in "xy"))
    result = checked(*(config_map(two, name) for name in "cab"), config_map(two, "z", namespace="other"), by=by)
    over = [one for one in result.problems if one.problem.code.name == "POL-2201"]
    assert [one.file for one in over] == ["0.yaml", "2.yaml"]  # c and b, after a
    text = "the document fails closed on the hosts that it names: its namespace has more than 3 entries"
    assert {one.problem.text for one in over} == {text}


def test_entries_over_the_depth_limit_of_a_path_are_named() -> None:
    nested = [f"{{match: {{host: a, pathPrefix: /{'a' * length}}}, action: deny}}" for length in range(MAX_DEPTH + 1)]
    result = checked(config_map(entries(*nested, "{match: {host: b, pathPrefix: /}, action: deny}")))
    deep = [one.problem for one in result.problems if one.problem.code.name == "POL-2202"]
    assert [problem.entry for problem in deep] == list(range(len(nested)))
    text = f"entries[0] fails closed: the prefixes of its namespace make more than {MAX_DEPTH} levels on one path of its host"
    assert deep[0].text == text


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["{match: {host: a, pathPrefix: /x}, action: deny}", "{match: {host: a, pathPrefix: /y}, action: deny}"], [0]),
        (["{match: {host: a, pathPrefix: /x}, action: deny}", "{match: {host: a, pathPrefix: /}, action: deny}"], []),
        (["{match: {host: a, pathPrefix: /x}, action: deny}", "{match: {host: a, pathPrefix: /, pathType: Exact}, action: deny}"], [0]),
        (["{match: {host: a, pathPrefix: /x}, action: deny}", "{match: {host: a, pathPrefix: /, methods: [PUT]}, action: deny}"], []),
        (["{match: {host: a, pathPrefix: /x}, action: deny}", "{match: {host: b, pathPrefix: /x}, action: deny}"], [0, 1]),
        (['{match: {host: "*.a", pathPrefix: /}, action: deny}', "{match: {host: c.a, pathPrefix: /x}, action: deny}"], []),
        (['{match: {host: "*.a", pathPrefix: /x}, action: deny}'], [0]),
    ],
)
def test_uncovered_paths_are_reported_once_for_each_host(lines: list[str], told: list[int]) -> None:
    result = checked(config_map(entries(*lines)), with_uncovered=True)
    assert [one.problem.entry for one in result.problems if one.problem.code is UNCOVERED_PATHS] == told


def test_the_entry_that_closes_the_rest_of_a_host_does() -> None:
    for host in ("a.example.com", '"*.example.com"'):
        line = f"{{match: {{host: {host}, pathPrefix: /x}}, action: deny}}"
        (problem,) = checked(config_map(entries(line)), with_uncovered=True).problems
        closing = problem.problem.text.partition("; ")[2].removesuffix(" closes the rest")
        assert codes(checked(config_map(entries(line, closing)), with_uncovered=True)) == []


HEADER = "{match: {host: a, pathPrefix: /x, headers: [{name: x-tool, value: drop}]}, action: deny}"


@pytest.mark.parametrize(
    ("comment", "ignored"),
    [
        ("# exchanger: ignore POL-2106", ["POL-2106"]),
        ("# exchanger: ignore POL-2106, POL-2108: the upstream wants the header", ["POL-2106", "POL-2108"]),
        ("#exchanger:ignore POL-2108 POL-2106", ["POL-2106", "POL-2108"]),
        ("# exchanger: ignore POL-2107", []),
        ("# exchanger: ignore", []),
        ("# ignore POL-2106", []),
    ],
)
@pytest.mark.parametrize("bare", [False, True])
def test_a_comment_on_the_line_of_an_entry_accepts_what_it_names(comment: str, ignored: list[str], bare: bool) -> None:
    document = entries(f"{HEADER} {comment}")
    result = checked(document if bare else config_map(document), with_uncovered=True)
    assert [one.problem.code.name for one in result.ignored] == ignored
    useless = {"POL-2109"} if "exchanger:" in comment and not ignored else set()
    assert {*codes(result), *ignored} - {"POL-3004"} == {"POL-2106", "POL-2108"} | useless
    assert not set(codes(result)) & set(ignored)


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("", "it names no code, such as POL-2108"),
        ("POL-2107 POL-2106", "the check finds no POL-2106 or POL-2107 on this line or about its entry"),
        ("POL-1101", "POL-1101 is an error, and comments can ignore only warnings and notices"),
    ],
)
def test_a_comment_that_ignores_nothing_says_why(named: str, reason: str) -> None:
    found = checked(config_map(entries(f"{{match: {{host: a, pathPrefix: /}}, action: deny}} # exchanger: ignore {named}"))).problems
    assert [one.problem.text for one in found] == [f"this comment ignores nothing: {reason}"]


@pytest.mark.parametrize("bare", [False, True])
def test_a_comment_counts_for_an_entry_whose_fields_are_below_it(bare: bool) -> None:
    fields = "      host: a\n      pathPrefix: /x\n    action: deny"
    document = f"version: v1\nentries:\n  - match: # exchanger: ignore POL-2108\n{fields}\n"
    assert [one.problem.code.name for one in checked(document if bare else config_map(document), with_uncovered=True).ignored] == [
        "POL-2108"
    ]


def test_a_comment_may_be_on_the_line_of_the_problem() -> None:
    document = "version: v1\nentries:\n  - action: deny\n    match:\n      host: a\n      pathPrefix: /x # exchanger: ignore POL-2108\n"
    assert codes(checked(config_map(document), with_uncovered=True)) == []
    assert codes(checked(config_map(document.replace("/x #", '"/x #')), with_uncovered=True))


def test_no_comment_accepts_an_error() -> None:
    result = checked(config_map(entries("{match: {host: a, pathPrefix: /}, acton: deny} # exchanger: ignore POL-1101")))
    assert (sorted(codes(result)), result.ignored) == (["POL-1101", "POL-2109"], ())
