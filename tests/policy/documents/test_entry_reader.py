import attrs
import pytest

from exchanger.model.entry import AllowEntry, Claim, DenyEntry, ExchangeEntry, FailClosedScope, MatchScope, PathType, TokenTarget
from exchanger.policy.documents.document import PolicyDocument
from tests.policy.examples import HOST, RED, parsed

MATCH = "match: {host: api.example.com, pathPrefix: /orders}"
EXCHANGE = "exchange: {issuerRef: primary, scope: s}"


def document_of(entry: str) -> PolicyDocument:
    """Read a document with one entry, in flow or block style."""
    return parsed("version: v1\nentries:\n  - " + entry.replace("\n", "\n    "))


def read(entry: str) -> Claim:
    """Read one entry, in flow or block style."""
    document = document_of(entry)
    claims: list[Claim] = [*document.entries, *document.closed_scopes]
    (claim,) = claims
    return claim


def closed(entry: str) -> FailClosedScope:
    closed_scope = read(entry)
    assert isinstance(closed_scope, FailClosedScope)
    assert closed_scope.index == 0
    assert closed_scope.line is not None
    assert closed_scope.line >= 3
    assert closed_scope.source == RED
    return closed_scope


@pytest.mark.parametrize(
    ("match", "scope"),
    [
        ("host: ' API.Example.com:8443 ', pathPrefix: ' orders '", MatchScope(HOST, "/orders")),
        ("host: '[2001:DB8:0::1]:443', pathPrefix: /", MatchScope("[2001:db8::1]", "/")),
        ("host: a, pathPrefix: /A, caseInsensitive: true", MatchScope("a", "/A", case_insensitive=True)),
        ("host: a, pathPrefix: /A, caseInsensitive: True", MatchScope("a", "/A", case_insensitive=True)),
        ("host: a, pathPrefix: /A, caseInsensitive: TRUE", MatchScope("a", "/A", case_insensitive=True)),
        ("host: a, pathPrefix: /A, caseInsensitive: False", MatchScope("a", "/A")),
        ("host: a, pathPrefix: /, methods: null", MatchScope("a", "/")),
        ("host: a, pathPrefix: /, methods: [GET, ' post ', '']", MatchScope("a", "/", frozenset({"GET", "POST"}))),
        ("host: a, pathPrefix: /, methods: [get, GET, null]", MatchScope("a", "/", frozenset({"GET"}))),
        ("host: a, pathPrefix: /, methods: [' ']", MatchScope("a", "/")),
        ("host: a, pathPrefix: /, methods: [GET, ' * ']", MatchScope("a", "/")),
        ("host: a, pathPrefix: /, methods: [m-search, VERSION_2]", MatchScope("a", "/", frozenset({"M-SEARCH", "VERSION_2"}))),
        ("host: '1', pathPrefix: '2', methods: ['a3']", MatchScope("1", "/2", frozenset({"A3"}))),
    ],
)
def test_scopes_are_normalised(match: str, scope: MatchScope) -> None:
    assert read(f"{{match: {{{match}}}, action: deny}}") == DenyEntry(RED, 0, scope)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (
            f"{{{MATCH}, action: exchange, exchange: {{issuerRef: primary, scope: [a, b]}}}}",
            ['exchange.scope must be text (did you mean "a b"?)'],
        ),
        (
            f"{{{MATCH}, action: exchange, exchange: {{issuer: primary, scope: a}}}}",
            ['exchange has an unknown field "issuer" (did you mean issuerRef?)'],
        ),
        (
            "{match: {host: a, path: /orders}, action: deny}",
            ['match has an unknown field "path" (did you mean pathPrefix?)'],
        ),
        (
            "match:\nhost: a\npathPrefix: /\naction: deny",
            ["match is empty: indent host, pathPrefix below it"],
        ),
        (
            "{match: {host: a, pathPrefix: /, headers: {':path': /a, x-tool: drop}}, action: deny}",
            ["match.headers must be a list of mappings (did you mean [{name: x-tool, value: VALUE}]?)"],
        ),
        (
            "{match: {host: a, pathPrefix: /, headers: {name: x-tool, value: drop}}, action: deny}",
            ["match.headers must be a list of mappings (did you mean [{name: NAME, value: VALUE}]?)"],
        ),
    ],
)
def test_what_was_meant_by_a_likely_mistake_is_guessed(entry: str, told: list[str]) -> None:
    assert [problem.sentence for problem in closed(entry).problems] == [f"entries[0].{one}" for one in told]


@pytest.mark.parametrize("value", ["'true'", "yes", "1", "[true]", "{}", "''"])
def test_case_that_is_no_boolean_closes_every_case(value: str) -> None:
    closed_scope = closed(f"{{match: {{host: a, pathPrefix: /A, caseInsensitive: {value}}}, action: deny}}")
    assert closed_scope.match == MatchScope("a", "/A", case_insensitive=True)
    assert closed_scope.reason == "entries[0].match.caseInsensitive must be true or false"


@pytest.mark.parametrize(
    ("exchange", "target"),
    [
        ("issuerRef: ' primary ', scope: ' read:orders write '", TokenTarget("primary", "read:orders write")),
        ("issuerRef: primary, resources: [https://x, ' ', null, 'b ']", TokenTarget("primary", resources=("https://x", "b"))),
        ("issuerRef: primary, audiences: [a, a], scope: null", TokenTarget("primary", audiences=("a", "a"))),
        ("issuerRef: primary, scope: s, resources: [], audiences: ['']", TokenTarget("primary", "s")),
    ],
)
def test_targets_are_normalised(exchange: str, target: TokenTarget) -> None:
    entry = read(f"{MATCH}\naction: ' ExChange '\nexchange: {{{exchange}}}")
    assert entry == ExchangeEntry(RED, 0, MatchScope(HOST, "/orders"), target)


NO_URL = "must be an https URL of visible ASCII, without user information, fragment, double quote, comma or backslash"
OF_HOST = f"https://{HOST}/"


def with_metadata(url: str, host: str = HOST) -> str:
    """Return an exchange whose metadata is at ``url``, which has no single quote."""
    exchange = f"{{issuerRef: primary, scope: s, resourceMetadata: '{url}'}}"
    return f"match: {{host: '{host}', pathPrefix: /orders}}\naction: exchange\nexchange: {exchange}"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (HOST, f"https://{HOST}"),
        (HOST, f"https://{HOST}/.well-known/oauth-protected-resource/orders"),
        (HOST, "HTTPS://API.Example.com.:8443?a=(b)&c=@d[e]~!$%{}<>|^`"),
        (HOST, f"https://{HOST}:0/"),
        (HOST, f"https://{HOST}:65535/"),
        (HOST, OF_HOST.ljust(2048, "a")),
        (f"{HOST}:8443", f"https://{HOST}:9443/@/..//x"),
        ("*.example.com", f"https://{HOST}/"),
        ("*.example.com", "https://eu.api.example.com/"),
        ("[2001:DB8::1]", "https://[2001:db8:0::1]:8443/"),
    ],
)
def test_metadata_is_on_a_host_of_the_entry(host: str, url: str) -> None:
    entry = read(with_metadata(f" {url} ", host))
    assert isinstance(entry, ExchangeEntry)
    assert entry.resource_metadata == url
    assert entry.target == TokenTarget("primary", "s")


@pytest.mark.parametrize(
    ("host", "url", "reason"),
    [
        *((HOST, f"{OF_HOST}{sign}", NO_URL) for sign in ('"', "\\", ",", "#", "#top", "a b", "\u00e9", "\u200b")),
        *(
            (HOST, url, NO_URL)
            for url in ("/a", f"{HOST}/", f"//{HOST}/", f"http://{HOST}/", f"https:/{HOST}/", f"https:{HOST}", "https://")
        ),
        *((HOST, f"https://{user}@{HOST}/", NO_URL) for user in ("", "user", "user:hunter2", "a%40")),
        *((HOST, f"https://{HOST}{port}/", NO_URL) for port in (":", ":65536", ":99999", ":080000", ":http", ":*", ":-1", ": 1", ";x")),
        *((HOST, f"https://{host}/", NO_URL) for host in ("*.example.com", "", ".", f".{HOST}", f"{HOST}..", "[::1", "%61pi.example.com")),
        (HOST, OF_HOST.ljust(2049, "a"), "is longer than 2048 characters"),
        (HOST, "https://login.example.com/x", 'must be on the entry\'s own host, not on "login.example.com"'),
        (HOST, f"https://x.{HOST}/", f'must be on the entry\'s own host, not on "x.{HOST}"'),
        (HOST, "https://[::1::]/", 'must be on the entry\'s own host, not on "[::1::]"'),
        ("*.example.com", "https://example.com/", 'must be on the entry\'s own host, not on "example.com"'),
        ("*.example.com", "https://badexample.com/", 'must be on the entry\'s own host, not on "badexample.com"'),
        ("*.example.com", "https://api.example.com.evil/", 'must be on the entry\'s own host, not on "api.example.com.evil"'),
    ],
)
def test_other_metadata_closes_the_match_and_is_not_repeated(host: str, url: str, reason: str) -> None:
    closed_scope = closed(with_metadata(url, host))
    assert (closed_scope.match, closed_scope.reason) == (MatchScope(host, "/orders"), f"entries[0].exchange.resourceMetadata {reason}")
    assert closed_scope.code == "POL-1107"
    assert "hunter2" not in closed_scope.coded


@pytest.mark.parametrize("url", ["''", "' '", "null", "~", ""])
def test_blank_metadata_is_none(url: str) -> None:
    entry = read(f"{MATCH}\naction: exchange\nexchange:\n  issuerRef: primary\n  scope: s\n  resourceMetadata: {url}")
    assert isinstance(entry, ExchangeEntry)
    assert entry.resource_metadata == ""


@pytest.mark.parametrize(
    ("host", "problems"),
    [
        ("https://api.example.com", 1),
        ("www.example.com,api.example.com", 1),
        ("???", 1),
        ("www.example.com/", 2),
        ("a.example,b.example", 2),
    ],
)
def test_metadata_may_be_on_any_host_that_was_meant(host: str, problems: int) -> None:
    assert len(document_of(with_metadata(OF_HOST, host)).findings) == problems


@pytest.mark.parametrize(
    ("match", "scope"),
    [
        ("host: '*.A.example.:443', pathPrefix: /b/, pathType: ' Segment '", MatchScope("*.a.example", "/b", path_type=PathType.SEGMENT)),
        ("host: a, pathPrefix: /, pathType: segment", MatchScope("a", "", path_type=PathType.SEGMENT)),
        ("host: a, pathPrefix: /b/, pathType: Exact, caseInsensitive: true", MatchScope("a", "/b/", None, True, PathType.EXACT)),
        (
            "host: a, pathPrefix: /, headers: [{name: X-B, value: '1 2'}, {name: Mcp-Name, value: delete_order}]",
            MatchScope("a", "/", headers=(("mcp-name", "delete_order"), ("x-b", "1 2"))),
        ),
    ],
)
def test_what_lets_pass_has_a_match_like_any_other(match: str, scope: MatchScope) -> None:
    assert read(f"match: {{{match}}}\naction: allow") == AllowEntry(RED, 0, scope)


@pytest.mark.parametrize(
    "exchange",
    [
        "",
        "exchange: null",
        "exchange: {}",
        "exchange: {issuerRef: nobody}",
        "exchange: {scope: s}",
        "exchange: {resources: [' '], audiences: null}",
        "exchange: {resourceMetadata: http://elsewhere.example}",
    ],
)
def test_a_denial_needs_no_target(exchange: str) -> None:
    assert read(f"{MATCH}\naction: Deny\n{exchange}") == DenyEntry(RED, 0, MatchScope(HOST, "/orders"))


@pytest.mark.parametrize(
    ("match", "action", "reason"),
    [
        ("headers:", "deny", "headers is empty: write [] for none, or remove the line"),
        ("headers: [null]", "deny", "headers[0] must be a mapping"),
        ("caseInsensitive: ~", "deny", "caseInsensitive is empty: write true or false, or remove the line"),
        ("pathType: null", "exchange", "pathType is empty: write a value, or remove the line"),
        ("pathType: ' '", "allow", "pathType is empty: write a value, or remove the line"),
        ("methods: ['']", "allow", "methods has a blank item: write a value, or remove the item"),
        ("methods: [GET, ' ']", "allow", "methods has a blank item: write a value, or remove the item"),
        ("methods:", "allow", "methods is empty: write its items, or remove the line"),
        ("methods: [~]", "Allow", "methods must be a list of texts"),
    ],
)
def test_null_closes_the_match_where_it_would_mean_something_weaker(match: str, action: str, reason: str) -> None:
    more = "{issuerRef: primary, scope: s}" if action == "exchange" else "{}"
    closed_scope = closed(f"match:\n  host: {HOST}\n  pathPrefix: /orders\n  {match}\naction: {action}\nexchange: {more}")
    assert (closed_scope.match.host, closed_scope.reason) == (HOST, f"entries[0].match.{reason}")


@pytest.mark.parametrize("entry", ["text", "5", "[a]", "!own {match: {}}"])
def test_an_entry_that_is_no_mapping_closes_everything(entry: str) -> None:
    assert attrs.evolve(closed(entry), line=None) == FailClosedScope(RED, MatchScope(), "entries[0] must be a mapping", 0)


def test_a_first_segment_without_a_dot_is_not_taken_for_a_host() -> None:
    entry = read("{match: {host: orders, pathPrefix: orders/a}, action: deny}")
    assert entry.match == MatchScope("orders", "/orders/a")


# In reasons, "@" stands for the entry.
@pytest.mark.parametrize(
    ("match", "scope", "reason"),
    [
        ("", MatchScope(), "@.match is required"),
        ("match: [a]", MatchScope(), "@.match must be a mapping"),
        ("match: {}", MatchScope(), "@.match.host is required; @.match.pathPrefix is required"),
        ("match: {pathPrefix: /a}", MatchScope(None, "/a"), "@.match.host is required"),
        ("match: {host: ' ', pathPrefix: /a}", MatchScope(None, "/a"), "@.match.host is required"),
        ("match: {host: 5, pathPrefix: /a}", MatchScope(None, "/a"), "@.match.host must be text"),
        ("match: {host: a}", MatchScope("a"), "@.match.pathPrefix is required"),
        (
            "match: {host: A.example.com, pathPrefix: 'a.example.com:443/admin'}",
            MatchScope("a.example.com"),
            '@.match.pathPrefix begins with the host: write only the path instead of "a.example.com:443/admin"',
        ),
        (
            "match: {host: https://a.example.com, pathPrefix: '/b*', methods: ['C,D']}",
            MatchScope("a.example.com", "/b"),
            (
                '@.match.host is a URL: write a.example.com instead of "https://a.example.com"; '
                '@.match.pathPrefix is a prefix already: write /b instead of "/b*"; '
                '@.match.methods must be a list of methods: write [C, D] instead of ["C,D"]'
            ),
        ),
        ("match: {host: a, pathPrefix: /, methods: GET}", MatchScope("a", "/"), "@.match.methods must be a list of texts"),
        ("match: {host: a, pathPrefix: /, methods: [GET, 1]}", MatchScope("a", "/"), "@.match.methods must be a list of texts"),
        (
            "match: {host: a, pathPrefix: /, methods: [GET], pathtype: Segment}",
            MatchScope("a", "/", frozenset({"GET"})),
            '@.match has an unknown field "pathtype"',
        ),
        # Of a prefix with a problem only its beginning is known, of a path type only that nothing beyond a plain prefix is meant.
        (
            "match: {host: '*.a', pathPrefix: '/b/*', pathType: Exact}",
            MatchScope("*.a", "/b"),
            '@.match.pathPrefix is a prefix already: write /b instead of "/b/*"',
        ),
        ("match: {host: a, pathPrefix: /b/, pathType: 5}", MatchScope("a", "/b"), "@.match.pathType must be text"),
        (
            "match: {host: a, pathPrefix: /b/, pathType: Regex}",
            MatchScope("a", "/b"),
            '@.match.pathType must be Prefix, Segment or Exact, not "Regex"',
        ),
        (
            "match: {host: a, pathPrefix: /b, pathType: exact, headers: [{name: ':path', value: x}, {name: A_b, value: y}, {name: a-B}]}",
            MatchScope("a", "/b", path_type=PathType.EXACT),
            (
                '@.match.headers[0].name is a pseudo-header: match it by host, pathPrefix and methods, instead of ":path"; '
                '@.match.headers[2].value is required; @.match.headers[2].name is listed twice: a request has one value of "a-b"'
            ),
        ),
        (
            "match: {host: a, pathPrefix: /b, headers: [{name: Cookie, value: ' x'}, {name: x, value: 'a,b'}, {name: y, value: 5}]}",
            MatchScope("a", "/b"),
            (
                "@.match.headers[0].name cannot be matched: match the host by host, and leave credentials out of policies, "
                'instead of "cookie"; @.match.headers[0].value has leading or trailing blanks, which gateways remove; '
                "@.match.headers[1].value has a comma, which separates header values; @.match.headers[2].value must be text"
            ),
        ),
        ("match: {host: a, pathPrefix: /, headers: {name: x}}", MatchScope("a", "/"), "@.match.headers must be a list of mappings"),
        ("match: {host: a, pathPrefix: /, Host: b, 1: c, [x]: y}", MatchScope("a", "/"), '@.match has an unknown field "Host" and 2 more'),
        ("match: {host: a, pathPrefix: /, [x]: y}", MatchScope("a", "/"), "@.match has an unknown field that is not text"),
        ("match: {host: a, !x host: b, pathPrefix: /}", MatchScope("a", "/"), "@.match has an unknown field that is not text"),
        ("match: {!!str host: a, ! pathPrefix: /, more: 1}", MatchScope("a", "/"), '@.match has an unknown field "more"'),
    ],
)
def test_the_readable_part_of_a_match_is_closed(match: str, scope: MatchScope, reason: str) -> None:
    assert attrs.evolve(closed(f"action: deny\n{match}"), line=None) == FailClosedScope(RED, scope, reason.replace("@", "entries[0]"), 0)


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("", "@.action is required"),
        ("action: ' '", "@.action is required"),
        ("action: true", "@.action must be text"),
        ("action: Permit", '@.action must be exchange, deny or allow, not "permit"'),
        ("action: exchange", "@.exchange is required"),
        ("action: exchange\nexchange: primary", "@.exchange must be a mapping"),
        (
            "action: exchange\nexchange: {}",
            "@.exchange.issuerRef is required; @.exchange needs at least one of scope, resources and audiences",
        ),
        ("action: exchange\nexchange: {issuerRef: nobody, scope: s}", '@.exchange.issuerRef references unknown issuer profile "nobody"'),
        ("action: exchange\nexchange: {issuerRef: 5, scope: s}", "@.exchange.issuerRef must be text"),
        (
            "action: exchange\nexchange: {issuerRef: primary, scope: ' ', resources: [' '], audiences: []}",
            "@.exchange needs at least one of scope, resources and audiences",
        ),
        ("action: exchange\nexchange: {issuerRef: primary, resources: https://x}", "@.exchange.resources must be a list of texts"),
        (
            "action: exchange\nexchange: {issuerRef: primary, scope: s, audiences: [1]}",
            "@.exchange.audiences must be a list of texts",
        ),
        ("action: exchange\nexchange: {issuerRef: primary, scope: [s], audiences: [a]}", "@.exchange.scope must be text"),
        ("action: deny\nexchange: 5", "@.exchange must be a mapping"),
        ("action: deny\nexchange: {issuer: primary}", '@.exchange has an unknown field "issuer"'),
        ("action: deny\nexchange: {scope: 5}", "@.exchange.scope must be text"),
        ("action: deny\nexchange: {resourceMetadata: 5}", "@.exchange.resourceMetadata must be text"),
        (f"action: exchange\n{EXCHANGE}\nextra: 1", '@ has an unknown field "extra"'),
        (f"action: exchange\n{EXCHANGE}\n<<: {{extra: 1}}", '@ has an unknown field "extra"'),
        (f"action: exchange\n{EXCHANGE}\n'<<': {{}}", '@ has an unknown field "<<"'),
    ],
)
def test_an_unclear_action_or_target_closes_the_match(rest: str, reason: str) -> None:
    closed_scope = closed(f"{MATCH}\n{rest}")
    assert (closed_scope.match, closed_scope.reason) == (MatchScope(HOST, "/orders"), reason.replace("@", "entries[0]"))


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ("GET,POST", 'must be a list of methods: write [GET, POST] instead of ["GET,POST"]'),
        ("GET POST PUT PATCH DELETE HEAD", "must be a list of methods: write [GET, POST, PUT, PATCH, DELETE] instead of "),
        ("GET*", 'must be a list of methods: write [GET] instead of ["GET*"]'),
        ("all", 'takes no word for all methods: leave methods out instead of "all"'),
        ("!GET", 'must name each method, such as [GET, POST], or be left out for all of them, instead of "!GET"'),
        ("\uff27\uff25\uff34", "must name each method, such as [GET, POST], or be left out for all of them, instead of "),
    ],
)
def test_a_text_that_is_no_method_closes_all_methods(item: str, sentence: str) -> None:
    closed_scope = closed(f"match: {{host: a, pathPrefix: /x, methods: [GET, '{item}']}}\naction: deny")
    assert closed_scope.match == MatchScope("a", "/x")
    assert closed_scope.reason.startswith(f"entries[0].match.methods {sentence}")


def test_aliases_are_read_like_what_they_stand_for() -> None:
    document = parsed(
        "version: v1\nentries:\n- match: &m {host: a, pathPrefix: /}\n  action: deny\n"
        "- match: {host: b, pathPrefix: &p /p}\n  action: deny\n"
        "- {match: {host: c, pathPrefix: *p}, action: deny}\n- {match: *m, action: deny}\n"
    )
    assert [entry.match for entry in document.entries] == [
        MatchScope("a", "/"),
        MatchScope("b", "/p"),
        MatchScope("c", "/p"),
        MatchScope("a", "/"),
    ]


@pytest.mark.parametrize(
    ("entry", "line", "column"),
    [
        ("[]", 3, 5),
        (f"action: deny\n{MATCH}\nnote: x", 5, 5),
        (f"action: permit\n{MATCH}", 3, 13),
        (f"{MATCH}\nexchange: {{issuerRef: primary}}", 3, 5),
        (f"{MATCH}\naction: exchange\nexchange:\n  issuerRef: primary\n  scope: 5", 7, 14),
        (f"{MATCH}\naction: exchange\nexchange:\n  issuerRef: other\n  scope: s", 6, 18),
        (f"{MATCH}\naction: exchange\nexchange:\n  scope: s", 6, 7),
        (f"{MATCH}\naction: exchange\nexchange:\n  issuerRef: primary\n  scope: s\n  resourceMetadata: /here", 8, 25),
        ("action: deny\nmatch:\n  host: '*.*.com'\n  pathPrefix: /", 5, 13),
        ("action: deny\nmatch:\n  host: a\n  pathPrefix: /\n  methods: GET", 7, 16),
    ],
)
def test_a_problem_is_shown_at_its_field_or_at_the_incomplete_mapping(entry: str, line: int, column: int) -> None:
    closed_scope = closed(entry)
    assert (closed_scope.line, closed_scope.column) == (line, column)
