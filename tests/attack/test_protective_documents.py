"""Documents that look as if they protect something: what their authors meant never passes unchanged, and nobody else is closed.

Each is a deny that a hurried author could write. On the same host everything is exchanged, so that a deny which denies nothing shows.
"""

import json

import pytest

from exchanger.policy.document import PolicyDocument, parse_document
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import ExchangeEntry, Source
from exchanger.values.verdict import NO_MATCH, Verdict

API = "api.example.com"
UNRELATED = "unrelated.example.org"
SOURCE = Source("team", "policy")


def document_of(match: object) -> PolicyDocument:
    exchange = {
        "match": {"host": API, "pathPrefix": "/"},
        "action": "exchange",
        "exchange": {"issuerRef": "primary", "scope": "s"},
    }
    text = json.dumps({"version": "v1", "entries": [exchange, {"match": match, "action": "deny"}]}, ensure_ascii=False)
    return parse_document(SOURCE, text, frozenset({"primary"}))


def asked(document: PolicyDocument, host: str, path: str, method: str = "GET") -> Verdict:
    return PolicySnapshot.EMPTY.apply(document).match(host, path, method)


def assert_closed(document: PolicyDocument, host: str, path: str, method: str = "GET") -> None:
    verdict = asked(document, host, path, method)
    assert verdict is not NO_MATCH, f"{method} {host}{path} passes with the original token"
    assert not isinstance(verdict, ExchangeEntry), f"{method} {host}{path} is exchanged"


HOSTS_BY_NAME = [
    ("https://api.example.com", [API]),
    ("HTTPS://API.EXAMPLE.COM/", [API]),
    ("http://api.example.com:8080/admin?x=1#y", [API]),
    ("https://user:secret@api.example.com", [API]),
    ("https://user:sec,ret@api.example.com", [API]),
    ("user@api.example.com", [API]),
    ("https://a.example.com,user@b.example.com", ["a.example.com", "b.example.com"]),
    ("wss://api.example.com", [API]),
    ("custom+x://api.example.com", [API]),
    ("http:api.example.com", [API]),
    ("http:/api.example.com", [API]),
    ("https//api.example.com", [API]),
    ("http:orders", ["orders"]),
    ("//api.example.com", [API]),
    ("\\\\api.example.com", [API]),
    ("api.example.com/", [API]),
    ("api.example.com/admin", [API]),
    ("/api.example.com", [API]),
    ("api.example.com..", [API]),
    ("api..example.com", [API]),
    (".api.example.com", [API]),
    ("api.example.com,", [API]),
    ("api.example.com;", [API]),
    ("api.example.com?", [API]),
    ("api.example.com#", [API]),
    ("api.example.com@", [API]),
    ("'api.example.com'", [API]),
    ('"api.example.com"', [API]),
    ("`api.example.com`", [API]),
    ("(api.example.com)", [API]),
    ("[api.example.com]", [API]),
    ("“api.example.com”", [API]),
    ("api.example.com\u200b", [API]),
    ("\ufeffapi.example.com", [API]),
    ("api.exam\u00adple.com", [API]),
    ("api.\n  example.com", [API]),
    ("ａｐｉ.example.com", [API]),
    ("api。example。com", [API]),
    ("^api\\.example\\.com", [API]),
    ("api.example.com:443:1", [API]),
    ("api.example.com:443/admin", [API]),
    ("api.example.com:443,8443", [API]),
    ("api.example.com:this-is-no-service", [API]),
    ("api.example.com:a_b", [API]),
    ("api.example.com:other.example.com", [API, "other.example.com"]),
    ("localhost:api.example.com", [API, "localhost"]),
    ("a,b", ["a", "b"]),
    ("a.example.com,b.example.com", ["a.example.com", "b.example.com"]),
    ("a.example.com b.example.com", ["a.example.com", "b.example.com"]),
    ("a.example.com. b.example.com.", ["a.example.com", "b.example.com"]),
    ("a.example.com\u200bb.example.com", ["a.example.com", "b.example.com"]),
    ("a.example.com; b.example.com", ["a.example.com", "b.example.com"]),
    ("a.example.com|b.example.com", ["a.example.com", "b.example.com"]),
    ("a.example.com/b.example.com", ["a.example.com", "b.example.com"]),
    ("[a.example.com, b.example.com]", ["a.example.com", "b.example.com"]),
    ("https://a.example.com,https://b.example.com/x", ["a.example.com", "b.example.com"]),
    ("https://[2001:DB8::1]/", ["[2001:db8::1]"]),
    ("[2001:db8::1]/64", ["[2001:db8::1]"]),
    ("2001:db8::1,api.example.com", ["[2001:db8::1]", API]),
    ("[2001:db8::1", ["[2001:db8::1]"]),
    ("2001:db8::1]:443", ["[2001:db8::1]"]),
    ("10.0.0.1/8", ["10.0.0.1"]),
    ("bücher.example", ["xn--bcher-kva.example"]),
    ("BU\u0308CHER.example", ["xn--bcher-kva.example"]),
    ("straße.example", ["xn--strae-oqa.example", "strasse.example"]),
    ("\u212aiwi.example", ["kiwi.example"]),
]


@pytest.mark.parametrize(("host", "meant"), HOSTS_BY_NAME)
def test_a_host_that_no_request_has_closes_the_hosts_that_it_names(host: str, meant: list[str]) -> None:
    document = document_of({"host": host, "pathPrefix": "/admin"})

    for name in meant:
        assert_closed(document, name, "/admin/1")
    for name in {API, "a.example.com", "b.example.com", "example", "com", "http", "user", "sec", "secret", UNRELATED}.difference(meant):
        assert asked(document, name, "/admin") == (document.entries[0] if name == API else NO_MATCH)
    assert "secret" not in document.regions[0].reason


HOSTS_OF_NO_NAME = [
    "${HOST}",
    "$HOST",
    "{{ .Values.host }}",
    "api.{domain}",
    "<host>",
    "%HOST%",
    "api%2eexample%2ecom",
    "api.example.com:{port}",
    "*",
    "*.*",
    "api.*",
    "*api.example.com",
    "*.example.com",
    "https://*.example.com",
    "(api|www).example.com",
    "api[0-9].example.com",
    "api-[a-z]+.example.com",
    "api?.example.com",
    "😀.example.com",
    "api–v1.example.com",
    "https://",
    "//",
    "/",
    ":443",
    "...",
    "[::1%eth0]",
    "1,2",
    "a" * 5_000,
    " ".join(["api.example.org"] * 500),
]


@pytest.mark.parametrize("host", HOSTS_OF_NO_NAME)
def test_a_host_that_names_none_closes_what_unknown_hosts_do(host: str) -> None:
    document = document_of({"host": host, "pathPrefix": "/admin"})

    assert [region.match.host for region in document.regions] == [None]
    assert_closed(document, UNRELATED, "/admin/1")
    assert asked(document, UNRELATED, "/public") is NO_MATCH


PREFIXES = [
    ("/admin*", ["/admin", "/admin/1", "/administrators"], "/public"),
    ("admin*", ["/admin"], "/public"),
    ("/admin**", ["/admin"], "/public"),
    ("/admin/*", ["/admin", "/admin/1"], "/public"),
    ("/admin/**", ["/admin", "/admin/1"], "/public"),
    ("/admin/*/keys", ["/admin/1/keys"], "/public"),
    ("/admin/**/keys", ["/admin/1/2/keys"], "/public"),
    ("/admin/*.json", ["/admin/1.json"], "/public"),
    ("/admin/.*", ["/admin/1"], "/public"),
    ("/admin/.+", ["/admin/1"], "/public"),
    ("/admin.*", ["/admin", "/admin/1"], "/public"),
    ("/admin(/.*)?", ["/admin", "/admin/1"], "/public"),
    ("/admin(/|$)", ["/admin", "/admin/1"], "/public"),
    ("/admin/[^/]+/keys", ["/admin/1/keys"], "/public"),
    ("/admin/[0-9]+", ["/admin/1"], "/public"),
    ("/admin/\\d+", ["/admin/1"], "/public"),
    ("/admin/{id}", ["/admin/1"], "/public"),
    ("/admin/{id}/keys", ["/admin/1/keys"], "/public"),
    ("/admin/<id>/keys", ["/admin/1/keys"], "/public"),
    ("/admin/${ID}", ["/admin/1"], "/public"),
    ("/admin#x", ["/admin"], "/public"),
    ("/admin?x=1", ["/admin", "/admin?x=1"], "/public"),
    ("/admin?x=/../", ["/admin?x=1"], "/public"),
    ("/admin/?", ["/admin", "/admin/"], "/public"),
    ("/admin%", ["/admin"], "/public"),
    ("/admin%2", ["/admin"], "/public"),
    ("/admin%zz", ["/admin"], "/public"),
    ("/admin%00", ["/admin"], "/public"),
    ("/admin%ff", ["/admin"], "/public"),
    ("/admin\x07", ["/admin"], "/public"),
    ("/admin\u200b", ["/admin"], "/public"),
    ("/admin\U000e0041", ["/admin"], "/public"),
    ("/adm\u00adin/x", ["/admin/x"], "/public"),
    ("/admin//keys", ["/admin/keys"], "/public"),
    ("/admin//", ["/admin"], "/public"),
    ("/admin\\keys", ["/admin/keys"], "/public"),
    ("/admin/%2Fkeys", ["/admin/keys"], "/public"),
    ("*", ["/", "/admin"], None),
    ("/*", ["/", "/admin"], None),
    ("**", ["/admin"], None),
    ("*/admin", ["/x/admin"], None),
    ("/**/admin", ["/x/admin"], None),
    ("^/admin", ["/admin"], None),
    ("^admin", ["/admin"], None),
    ("/^admin", ["/admin"], None),
    ("(/admin|/internal)", ["/admin", "/internal"], None),
    ("//admin", ["/admin"], None),
    ("///admin", ["/admin"], None),
    ("//api.example.com/admin", ["/admin"], None),
    ("/\\admin", ["/admin"], None),
    ("\\admin", ["/admin"], None),
    ("\\\\admin", ["/admin"], None),
    ("/./admin", ["/admin"], None),
    ("./admin", ["/admin"], None),
    ("../admin", ["/admin"], None),
    ("/x/../admin", ["/admin"], None),
    ("/x/..", ["/"], None),
    ("/%2e%2e/admin", ["/admin"], None),
    ("/x/%2E./admin", ["/admin"], None),
    ("/x%2f..%2fadmin", ["/admin"], None),
    ("/%252e%252e/admin", ["/admin"], None),
    ("/x/..;/admin", ["/admin"], None),
    ("/x/.. /admin", ["/admin"], None),
    ("/．．/admin", ["/admin"], None),
    ("/{id}/admin", ["/1/admin"], None),
    ("{tenant}", ["/1"], None),
    ("/{{ .Values.path }}", ["/admin"], None),
    ("/${PATH}/admin", ["/admin"], None),
    ("https://api.example.com/admin", ["/admin"], None),
    ("HTTP://api.example.com", ["/"], None),
    ("https://user:secret@api.example.com/admin?t=secret", ["/admin"], None),
    ("http:/admin", ["/admin"], None),
    ("api.example.com/admin", ["/admin"], None),
    ("API.example.com:443/admin", ["/admin"], None),
    ('"/admin"', ["/admin"], None),
    ("'/admin'", ["/admin"], None),
    ("/admin,/internal", ["/admin", "/internal"], None),
    ("/admin, /internal", ["/admin", "/internal"], None),
    ("/admin /internal", ["/admin", "/internal"], None),
    ("/admin|/internal", ["/admin", "/internal"], None),
    ("/admin*,/internal*", ["/admin", "/internal"], None),
]


@pytest.mark.parametrize(("prefix", "meant", "spared"), PREFIXES)
def test_a_prefix_that_no_path_has_closes_what_may_have_been_meant(prefix: str, meant: list[str], spared: str | None) -> None:
    document = document_of({"host": API, "pathPrefix": prefix})

    for path in meant:
        assert_closed(document, API, path)
    if spared is not None:
        assert isinstance(asked(document, API, spared), ExchangeEntry)
    assert asked(document, UNRELATED, meant[0]) is NO_MATCH
    assert "secret" not in document.regions[0].reason


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("/a%2Fb", "/a%2Fb/c"),
        ("/a%2fb", "/a%2Fb"),
        ("/Orders('x')", "/Orders('x')/Items"),
        ("/Orders(a=1,b='2')", "/Orders(a=1,b='2')"),
        ("/v1/keys/k:rotate", "/v1/keys/k:rotate"),
        ("/:id/admin", "/:id/admin"),
        ("/$batch", "/$batch"),
        ("/admin;v=1", "/admin;v=1"),
        ("/a*b", "/a*b"),
        ("/.well-known", "/.well-known/x"),
        ("/a..b/...", "/a..b/..."),
        ("/%7Ejoe", "/%7Ejoe"),
        ("/a+b&c=d", "/a+b&c=d"),
        ("/100%25", "/100%25"),
        ("/café", "/caf%C3%A9"),
    ],
)
def test_a_prefix_that_is_legal_denies_and_is_no_mistake(prefix: str, path: str) -> None:
    document = document_of({"host": API, "pathPrefix": prefix})

    assert document.regions == ()
    assert_closed(document, API, path)


@pytest.mark.parametrize(
    "methods",
    [
        ["GET,POST"],
        ["GET|POST"],
        ["GET POST"],
        ["GET/POST"],
        ["ALL"],
        ["any"],
        ["!GET"],
        ["^GET$"],
        ["GET*"],
        ["**"],
        ["HTTP GET"],
        ["GET", "ALL"],
        ["${METHOD}"],
        ["0"],
        ["-GET"],
        ["G\u200bET"],
    ],
)
def test_methods_that_are_none_close_all_methods(methods: list[str]) -> None:
    document = document_of({"host": API, "pathPrefix": "/admin", "methods": methods})

    for method in ("GET", "POST", "DELETE"):
        assert_closed(document, API, "/admin/1", method)
    assert isinstance(asked(document, API, "/public"), ExchangeEntry)
    assert asked(document, UNRELATED, "/admin") is NO_MATCH


def test_several_mistakes_do_not_widen_each_other() -> None:
    document = document_of({"host": "https://a.example.com", "pathPrefix": "/admin*", "methods": ["GET,POST"], "more": 1})

    assert_closed(document, "a.example.com", "/admin/1", "DELETE")
    assert asked(document, "a.example.com", "/public") is NO_MATCH
    assert asked(document, UNRELATED, "/admin") is NO_MATCH


DENY = "- {match: {host: api.example.com, pathPrefix: /admin}, action: deny}\n"


@pytest.mark.parametrize(
    "text",
    [
        f"version: v1\nentries:\n{DENY}-\n",
        f"version: v1\nentries:\n- null\n{DENY}",
        f"version: v1\nentries:\n{DENY}- ~ # nothing\n",
        f"version: v1\nentries:\n{DENY}---\n",
        f"---\nversion: v1\nentries:\n{DENY}--- # nothing\n# at all\n",
        f"version: v1\nentries:\n{DENY}---\n---\n...\n",
    ],
)
def test_what_is_nothing_closes_nobody(text: str) -> None:
    document = parse_document(SOURCE, text, frozenset())

    assert document.regions == ()
    assert_closed(document, API, "/admin/1")
    assert asked(document, UNRELATED, "/admin") is NO_MATCH
