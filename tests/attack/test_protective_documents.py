"""Documents that look as if they protect something: what their authors meant never passes unchanged, and nobody else is closed.

Each is a deny that a hurried author could write. On the same host everything is exchanged, so that a deny which denies nothing shows.
"""

import json

import pytest

from exchanger.model.entry import ExchangeEntry, Source
from exchanger.model.policy_decision import NO_MATCH, PolicyDecision
from exchanger.policy.documents.document import PolicyDocument, parse_document
from exchanger.policy.snapshot import PolicySnapshot

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


def asked(document: PolicyDocument, host: str, path: str, method: str = "GET") -> PolicyDecision:
    return PolicySnapshot.EMPTY.changed({SOURCE: document}).match(host, path, method)


def assert_closed(document: PolicyDocument, host: str, path: str, method: str = "GET") -> None:
    decision = asked(document, host, path, method)
    assert decision is not NO_MATCH, f"{method} {host}{path} passes with the original token"
    assert not isinstance(decision, ExchangeEntry), f"{method} {host}{path} is exchanged"


A_AND_B = ("a.example.com", "b.example.com")
# By what they mean; the texts are separated by blanks, and those with blanks of their own follow.
HOSTS_BY_NAME: dict[tuple[str, ...], str] = {
    (API,): (
        "https://api.example.com HTTPS://API.EXAMPLE.COM/ http://api.example.com:8080/admin?x=1#y "
        "https://user:secret@api.example.com https://user:sec,ret@api.example.com user@api.example.com wss://api.example.com "
        "custom+x://api.example.com http:api.example.com http:/api.example.com https//api.example.com //api.example.com "
        "\\\\api.example.com api.example.com/ api.example.com/admin /api.example.com api.example.com.. api..example.com "
        ".api.example.com api.example.com, api.example.com; api.example.com? api.example.com# api.example.com@ 'api.example.com' "
        '"api.example.com" `api.example.com` (api.example.com) [api.example.com] “api.example.com” api.example.com\u200b '
        "\ufeffapi.example.com api.exam\u00adple.com ａｐｉ.example.com api。example。com ^api\\.example\\.com api.example.com:443:1 "
        "api.example.com:443/admin api.example.com:443,8443 api.example.com:this-is-no-service api.example.com:a_b"
    ),
    A_AND_B: (
        "https://a.example.com,user@b.example.com a.example.com,b.example.com a.example.com\u200bb.example.com "
        "a.example.com|b.example.com a.example.com/b.example.com https://a.example.com,https://b.example.com/x"
    ),
    ("orders",): "http:orders",
    ("a", "b"): "a,b",
    (API, "other.example.com"): "api.example.com:other.example.com",
    (API, "localhost"): "localhost:api.example.com",
    ("[2001:db8::1]",): "https://[2001:DB8::1]/ [2001:db8::1]/64 [2001:db8::1 2001:db8::1]:443",
    ("[2001:db8::1]", API): "2001:db8::1,api.example.com",
    ("10.0.0.1",): "10.0.0.1/8",
    ("xn--bcher-kva.example",): "bücher.example BU\u0308CHER.example",
    ("xn--strae-oqa.example", "strasse.example"): "straße.example",
    ("kiwi.example",): "\u212aiwi.example",
}
HOSTS_WITH_BLANKS = [
    ("api.\n  example.com", (API,)),
    ("a.example.com b.example.com", A_AND_B),
    ("a.example.com. b.example.com.", A_AND_B),
    ("a.example.com; b.example.com", A_AND_B),
    ("[a.example.com, b.example.com]", A_AND_B),
]


def each_of(table: dict[tuple[str, ...], str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return each text with what it means."""
    return [(text, meant) for meant, texts in table.items() for text in texts.split()]


@pytest.mark.parametrize(("host", "meant"), [*each_of(HOSTS_BY_NAME), *HOSTS_WITH_BLANKS])
def test_a_host_that_no_request_has_closes_the_hosts_that_it_names(host: str, meant: tuple[str, ...]) -> None:
    document = document_of({"host": host, "pathPrefix": "/admin"})

    for name in meant:
        assert_closed(document, name, "/admin/1")
    for name in {API, *A_AND_B, "example", "com", "http", "user", "sec", "secret", UNRELATED}.difference(meant):
        assert asked(document, name, "/admin") == (document.entries[0] if name == API else NO_MATCH)
    assert "secret" not in document.closed_scopes[0].reason


HOSTS_OF_NO_NAME = (
    "${HOST} $HOST api.{domain} <host> %HOST% api%2eexample%2ecom api.example.com:{port} * *.* api.* *api.example.com "
    "https://*.example.com (api|www).example.com api[0-9].example.com api-[a-z]+.example.com api?.example.com 😀.example.com "
    "api–v1.example.com https:// // / :443 ... [::1%eth0] 1,2"
)


@pytest.mark.parametrize("host", [*HOSTS_OF_NO_NAME.split(), "{{ .Values.host }}", "a" * 5_000, " ".join(["api.example.org"] * 500)])
def test_a_host_that_names_none_closes_what_unknown_hosts_do(host: str) -> None:
    document = document_of({"host": host, "pathPrefix": "/admin"})

    assert [closed_scope.match.host for closed_scope in document.closed_scopes] == [None]
    assert_closed(document, UNRELATED, "/admin/1")
    assert asked(document, UNRELATED, "/public") is NO_MATCH


# By what they mean, as above. What is closed by the first table leaves /public alone, and by the second nothing of the host.
PREFIXES_BELOW: dict[tuple[str, ...], str] = {
    ("/admin", "/admin/1", "/administrators"): "/admin*",
    ("/admin",): (
        "admin* /admin** /admin#x /admin% /admin%2 /admin%zz /admin%00 /admin%ff /admin// /admin\x07 /admin\u200b /admin\U000e0041"
    ),
    ("/admin", "/admin/1"): "/admin/* /admin/** /admin.* /admin(/.*)? /admin(/|$)",
    ("/admin/1/keys",): "/admin/*/keys /admin/[^/]+/keys /admin/{id}/keys /admin/<id>/keys",
    ("/admin/1/2/keys",): "/admin/**/keys",
    ("/admin/1.json",): "/admin/*.json",
    ("/admin/1",): r"/admin/.* /admin/.+ /admin/[0-9]+ /admin/\d+ /admin/{id} /admin/${ID}",
    ("/admin", "/admin?x=1"): "/admin?x=1",
    ("/admin?x=1",): "/admin?x=/../",
    ("/admin", "/admin/"): "/admin/?",
    ("/admin/x",): "/adm\u00adin/x",
    ("/admin/keys",): r"/admin//keys /admin\keys /admin/%2Fkeys",
}
PREFIXES_ANYWHERE: dict[tuple[str, ...], str] = {
    ("/", "/admin"): "* /*",
    ("/admin",): (
        r"** ^/admin ^admin /^admin //admin ///admin //api.example.com/admin /\admin \admin \\admin /./admin ./admin ../admin "
        "/x/../admin /%2e%2e/admin /x/%2E./admin /x%2f..%2fadmin /%252e%252e/admin /x/..;/admin /．．/admin /${PATH}/admin "
        "https://api.example.com/admin https://user:secret@api.example.com/admin?t=secret http:/admin api.example.com/admin "
        "API.example.com:443/admin \"/admin\" '/admin'"
    ),
    ("/x/admin",): "*/admin /**/admin",
    ("/admin", "/internal"): "(/admin|/internal) /admin,/internal /admin|/internal /admin*,/internal*",
    ("/",): "/x/.. HTTP://api.example.com",
    ("/1/admin",): "/{id}/admin",
    ("/1",): "{tenant}",
}
PREFIXES_WITH_BLANKS = [
    ("/x/.. /admin", ("/admin",)),
    ("/{{ .Values.path }}", ("/admin",)),
    ("/admin, /internal", ("/admin", "/internal")),
    ("/admin /internal", ("/admin", "/internal")),
]


@pytest.mark.parametrize(
    ("prefix", "meant", "is_public_spared"),
    [
        *((*case, True) for case in each_of(PREFIXES_BELOW)),
        *((*case, False) for case in [*each_of(PREFIXES_ANYWHERE), *PREFIXES_WITH_BLANKS]),
    ],
)
def test_a_prefix_that_no_path_has_closes_what_may_have_been_meant(prefix: str, meant: tuple[str, ...], is_public_spared: bool) -> None:
    document = document_of({"host": API, "pathPrefix": prefix})

    for path in meant:
        assert_closed(document, API, path)
    if is_public_spared:
        assert isinstance(asked(document, API, "/public"), ExchangeEntry)
    assert asked(document, UNRELATED, meant[0]) is NO_MATCH
    assert "secret" not in document.closed_scopes[0].reason


LEGAL = (
    "/a%2Fb /a%2fb /Orders('x') /Orders(a=1,b='2') /v1/keys/k:rotate /:id/admin /$batch /admin;v=1 /a*b /.well-known /a..b/... /%7Ejoe "
    "/a+b&c=d /100%25"
)


@pytest.mark.parametrize(("prefix", "path"), [*((prefix, f"{prefix}/x") for prefix in LEGAL.split()), ("/café", "/caf%C3%A9")])
def test_a_prefix_that_is_legal_denies_and_is_no_mistake(prefix: str, path: str) -> None:
    document = document_of({"host": API, "pathPrefix": prefix})

    assert document.closed_scopes == ()
    assert_closed(document, API, path)


NO_METHODS = "GET,POST GET|POST GET/POST ALL any !GET ^GET$ GET* ** ${METHOD} 0 -GET G\u200bET"


@pytest.mark.parametrize("methods", [*([text] for text in NO_METHODS.split()), ["GET POST"], ["HTTP GET"], ["GET", "ALL"]])
def test_texts_that_are_not_methods_close_all_methods(methods: list[str]) -> None:
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
def test_an_empty_item_or_document_closes_nobody(text: str) -> None:
    document = parse_document(SOURCE, text, frozenset())

    assert document.closed_scopes == ()
    assert_closed(document, API, "/admin/1")
    assert asked(document, UNRELATED, "/admin") is NO_MATCH
