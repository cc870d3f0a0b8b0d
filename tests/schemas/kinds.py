"""The kinds of documents that have a JSON Schema: their readers, and documents and values to hold both against each other."""

import re
from typing import Any, Final

from hypothesis import strategies as st

from exchanger.commands.cases import DECISIONS, read_cases
from exchanger.exchange.issuers.profile_model import Rejected
from exchanger.exchange.issuers.rules import ProfileRules
from exchanger.model.authority import MAX_TEXT
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import Source
from exchanger.policy.documents.document import parse_document
from exchanger.policy.documents.entry_reader import MAX_METADATA
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.prefix import MAX_PREFIX
from tests.exchange.issuers.fakes import plan_of
from tests.property.policy_model import METHODS
from tests.property.strategies_policy import HOSTS, ISSUERS, rarely
from tests.schemas.law import DocumentKind, Found, Part, around, mapping, mostly, some_texts

maybe = st.none()


def plainly(text: str) -> str:
    """Return ``text`` without what only looks like a blank."""
    return text.strip("\ufeff\u200b")


def lists(texts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return maybe | st.lists(texts, max_size=2)


def sentences(problems: object) -> Found:
    return tuple(problem.sentence for problem in problems if isinstance(problem, Problem)) if isinstance(problems, tuple) else ()


# Policies. What is elsewhere than on the entry's host is left to UNSAID.
match = mapping(
    ("methods", "caseInsensitive", "pathType", "headers"),
    host=around(st.sampled_from([*HOSTS, "*.a.example"])),
    pathPrefix=around(st.sampled_from(["/", "/a", "a/b", "/a*b"])).filter(str.isascii),
    methods=lists(mostly([*METHODS, "*", "get"], "all", "Any", "G T", "3")),
    caseInsensitive=maybe | st.booleans(),
    pathType=maybe | mostly(["", "Prefix", "segment", "EXACT"], "Prefixes", "Regex", one_in=6),
    headers=maybe
    | st.lists(
        maybe
        | mapping(
            (),
            name=mostly(["Mcp-Name", "x_a"], "Cookie", ":path", "a b", "", one_in=6),
            value=rarely(
                st.sampled_from(["a,b", " a", "a ", "", "a\u00a0"]), st.sampled_from(["delete order", "é", "=?base64?x?=", "a\x7fb", "a\n"])
            ),
        ),
        max_size=1,
    ),
)
signs = st.sampled_from([*"/?:.@#,\\\"'~!$(&[{|", "a", "1", "80", " ", "\t", "é", "\x7f", "\u200b"])
metadata = st.builds(
    "{}{}{}".format,
    rarely(st.sampled_from(["http://", "//", "https:", "", "https://u@", "https://u:p@"]), st.sampled_from(["https://", "HttpS://"])),
    rarely(st.sampled_from(["", "*.a.example", "%61.example", "[::1"]), st.sampled_from([*HOSTS, "A.example.", "x.a.example"])),
    rarely(st.lists(signs, max_size=4).map("".join), st.sampled_from(["", ":8443", "/", "/.well-known/oauth-protected-resource", "?a"]), 4),
)
targets = lists(around(st.sampled_from(["", "orders", "https://a.example"])) | maybe)
exchange = maybe | mapping(
    ("scope", "resources", "audiences", "resourceMetadata"),
    issuerRef=around(rarely(st.just(""), st.just("primary"))).map(plainly),
    scope=maybe | around(st.sampled_from(["", "read write"])),
    resources=targets,
    audiences=targets,
    resourceMetadata=maybe | around(rarely(st.just(""), metadata)),
)
action = mostly(["exchange", "deny", "Exchange", "DENY", "allow"], "permit", "", "denyy", one_in=6)
entry = maybe | mapping(("exchange",), match=match, action=action, exchange=exchange)


def policy(host: str = "a.example", prefix: str = "/", methods: list[str] | None = None, action: str = "deny", **more: object) -> object:
    return {"version": "v1", "entries": [{"match": {"host": host, "pathPrefix": prefix, "methods": methods}, "action": action, **more}]}


def says(text: str, metadata: str) -> object:
    return policy(action="exchange", exchange={"issuerRef": "primary", "scope": text, "resourceMetadata": metadata})


def is_elsewhere(found: Found) -> bool:
    return all("must be on the entry's own host" in text for text in found)


host_parts = st.sampled_from(
    ["a", "api.example.com", "A-b_c.d", "http", "h2c", "1", "::", "[::1]", "1:2", "fe80::1", "::ffff:1.2.3.4", "*."]
)
host_ends = st.sampled_from(
    ["", ".", ":", ":8080", ":*", ":http", ": 8a", " :1-2", ":a--b", "/", "/x", ",", "%", " b", ":http2", "..", ":-"]
)
hosts = st.builds("{}{}{}".format, host_parts, host_ends, rarely(host_ends, st.just(""), 4)) | st.text("ab.:/[]*1- \t", max_size=10)
prefix_signs = st.sampled_from("//ab.*+;,|(){$^?#\\\"'`% \té．\u200b")
prefix_parts = st.sampled_from(["..", "{id}", "<id>", ";x", "[^", "[a]", "{{", "//", "http:", "x://"])
escapes = st.sampled_from(["%2e", "%252E", "%2f", "%5c", "%00", "%4", "%20", "%c3%a9"])
prefixes = st.lists(prefix_signs | prefix_parts | escapes, max_size=6).map("".join)
POLICY: Final = DocumentKind(
    "policy",
    lambda text: tuple(
        problem.sentence
        for closed_scope in parse_document(Source("red", "policy"), text, ISSUERS).problems
        for problem in closed_scope.problems
    ),
    mapping(("entries",), version=rarely(st.sampled_from(["v2", "v1 ", 1]), st.just("v1")), entries=maybe | st.lists(entry, max_size=3)),
    {
        "host": Part(
            around(hosts | some_texts),
            lambda text: policy(host=text),
            lambda text, _: text.count(":") > 1 or "[" in text or re.search(r":[ \t]*[A-Za-z0-9-]{16,}\s*\Z", text) or len(text) > MAX_TEXT,
            (
                *("a" * MAX_TEXT, "a" * (MAX_TEXT + 1), "http:8-x", "orders:a23456789012345", "a.:http-alt", "1::2:10.0.0.1"),
                *("a\u200b", "*. b"),
            ),
        ),
        "prefix": Part(
            around(prefixes | prefixes.map("/{}".format) | some_texts),
            lambda text: policy(prefix=text),
            lambda text, found: "begins with the host" in found[0] or "%" in text or not text.isascii() or len(text) > MAX_PREFIX,
            ("a.example/orders", "/" + "a" * MAX_PREFIX, "/ /", "/a%", "/a%4\n", "/a/.\n", "/('x')/..."),
        ),
        "methods": Part(
            st.lists(around(st.text("aAlLnNyY*-_1 ", max_size=4) | some_texts), max_size=2), lambda texts: policy(methods=texts)
        ),
        "action": Part(
            around(st.sampled_from(["deny", "DENY", "dEny", "de ny", "den", "denyx", "", "xdeny"]) | some_texts),
            lambda text: policy(action=text),
        ),
        "metadata": Part(
            around(metadata | metadata.map("https://a.example/{}".format) | some_texts),
            lambda text: says("read", text),
            lambda text, found: is_elsewhere(found) or len(text) > MAX_METADATA or re.search(":[0-9]{5}", text),
            (
                *("https://a.example/".ljust(MAX_METADATA, "a"), "https://a.example/".ljust(MAX_METADATA + 1, "a")),
                *("https://a.example:65536", "https://a.example:065535", "https://[:::]", "https://a.example/\n"),
            ),
        ),
    },
    is_elsewhere,
)


# Grants.
def granted(*right: str, wrong: tuple[str, ...] = ()) -> st.SearchStrategy[Any]:
    return lists(maybe | mostly(["", *right], *wrong, "{x}", "a*b"))


grant = maybe | mapping(
    ("namespaceSelector", "hosts", "pathPrefixes", "actions", "issuers", "audiences", "resources", "scopes"),
    namespaces=granted("team-a", "b", wrong=("Team", "-a", "a.b", "a" * 64)),
    namespaceSelector=maybe | around(st.sampled_from(["team=a", "tier in (web, api)"])).map(plainly),
    hosts=granted(
        "a.example", "*.A.example", "*", "{namespace}.apps.example", "*.{label:a.b/c}x", wrong=("https://a", "a.", "a:80", "*.*.a")
    ),
    pathPrefixes=granted("/", "/a", "*", "/a/", "/{namespace}/x", "/x-{label:k/v}", wrong=("a", "/a*", "//", "/{id}", "/a?b", "**")),
    actions=granted("exchange", "Deny", "ALLOW", "*", wrong=("permit", "exchange deny")),
    issuers=granted("primary", "p*", "*", wrong=("{namespace}",)),
    audiences=granted("orders-api", "orders-*", "*", "{namespace}", "{label:team}-*", wrong=("{label:}",)),
    resources=granted(
        "*", "x", "https://a.example/*", "https://{namespace}.a/x/*", "https://a", wrong=("https://a*", "x*", "https://a/b*")
    ),
    scopes=granted("read:orders", "orders.*", "{namespace}.*", wrong=("a b",)),
)
denied = mapping(
    ("methods", "caseInsensitive", "pathType"),
    host=around(st.sampled_from([*HOSTS, "*.a.example", "*"])),
    pathPrefix=around(st.sampled_from(["/", "/a", "/a*b"])).filter(str.isascii),
    methods=lists(mostly([*METHODS, "*"], "all", one_in=6)),
    caseInsensitive=maybe | st.booleans(),
    pathType=maybe | mostly(["", "Prefix", "segment"], "Regex", one_in=6),
)


def granting(**fields: object) -> object:
    return {"version": "v1", "grants": [{"namespaces": ["a"], **fields}]}


def denying(host: str) -> object:
    return {"version": "v1", "grants": [], "baseline": [{"match": {"host": host, "pathPrefix": "/"}, "action": "deny"}]}


placeholders = st.sampled_from(
    [*"{}", "{namespace}", "{Namespace}", "{label:a}", "{label:a.b/c}", "{label:A_b}", "{label:}", "{label:a/b/c}"]
)
grant_signs = st.sampled_from([*"aZ09-_.:*/[]%,|; '\"^<>()?#\\+$é\u212a\u200b", "//", "://", ".*", "%2f", "..", "x*"])
pieces = st.lists(rarely(placeholders, grant_signs, 3), max_size=6).map("".join)
GRANTS: Final = DocumentKind(
    "grants",
    lambda text: () if isinstance(found := read_grants(text, has_labels=True), Grants) else sentences(found),
    mapping(
        ("baseline",),
        version=mostly(["v1"], "v2", "", one_in=6),
        grants=rarely(maybe, st.lists(grant, max_size=2)),
        baseline=lists(maybe | mapping((), match=denied, action=mostly(["deny", "Deny"], "allow", one_in=6))),
    ),
    {
        "hosts": Part(
            around(pieces | some_texts),
            lambda text: granting(hosts=[text]),
            lambda text, _: "[" in text,
            ("[::1]", "\u212a.example", "*.[::1]", "{Namespace}", "*. a"),
        ),
        "path prefixes": Part(
            around(pieces.map("/{}".format) | pieces | some_texts),
            lambda text: granting(pathPrefixes=[text]),
            lambda text, _: "{" in text or "%" in text or not text.isascii(),
            ("/;a{label:k/v}", "/[a]{namespace}", "/${namespace}", "/<{namespace}>", "/{namespace}/%", "/ *", "**"),
        ),
        "patterns": Part(
            st.dictionaries(
                st.sampled_from(["issuers", "audiences", "resources", "scopes", "actions"]),
                st.lists(around(pieces | some_texts), min_size=1, max_size=1),
                min_size=1,
                max_size=1,
            ),
            lambda fields: granting(**fields),
        ),
        "resources": Part(
            around(st.builds("{}://{}/{}".format, pieces | st.just("https"), pieces, pieces | st.just("*"))),
            lambda text: granting(resources=[text]),
        ),
        "namespaces": Part(
            around(st.text("abZ-.09", max_size=5) | st.integers(62, 65).map(lambda length: "a" * length) | some_texts),
            lambda text: granting(namespaces=[text]),
        ),
        "selector": Part(
            around(st.sampled_from(["team=a", "!a", "a in (b)", "(", "a b", ""]) | some_texts),
            lambda text: granting(namespaceSelector=text),
            lambda text, _: text.strip(),
        ),
        "host of the baseline": Part(around(st.sampled_from(["*", "a.example", "*.a.example", "*:80", "a.*", "http:a"])), denying),
    },
)

# Tests.
values = rarely(maybe | st.just(5), st.sampled_from(["", "x y"]), 9)
names = mostly(["Mcp-Name", "authorization"], "", "a b", ":path")
asked = mapping(
    ("headers",),
    method=mostly(["GET", "purge"], "", "G T", "GET,"),
    url=mostly(["https://a/b?c", "a.example", "WS://a"], "", "https://a#b", "ftp://a", "u@a"),
    headers=st.dictionaries(names, values, max_size=2) | lists(mapping((), name=names, value=values)),
)
expected = mapping(
    ("policy", "scope", "audiences"),
    decision=mostly(list(DECISIONS), "", "permit", "Exchange"),
    policy=maybe | mostly(["a/b", "baseline", "a /b"], "", "a", "/a", "a/", "a/b/c"),
    scope=maybe | around(st.sampled_from(["", "read write"])),
    audiences=lists(rarely(maybe, st.sampled_from(["", "orders"]), 9)),
)


def asking(url: str = "https://a.example", **expect: object) -> object:
    return {"tests": [{"request": {"method": "GET", "url": url}, "expect": {"decision": "deny", **expect}}]}


def lacks_host(found: Found) -> bool:
    return all("no host" in text for text in found)


url_pieces = st.sampled_from([*":/@%?# \\é-_\t[]*", "http", "HTTPS", "wss", "ftp", "://", "//", "a.example", "[::1]", ":80"])
TESTS: Final = DocumentKind(
    "tests",
    lambda text: sentences(read_cases(text)),
    mapping((), tests=st.lists(mapping((), request=asked, expect=expected), max_size=2)),
    {
        "url": Part(
            around(st.lists(url_pieces, max_size=6).map("".join) | some_texts),
            lambda text: asking(url=text),
            lambda _, found: lacks_host(found),
            ("://a", "http:/a", "https://", "a+b://c", "http://@"),
        ),
        "policy": Part(
            around(st.text("/ a\u00a0\t", max_size=5) | st.sampled_from(["baseline", "Baseline"])), lambda text: asking(policy=text)
        ),
    },
    lacks_host,
)

# Issuer profiles, under the rules by which most files are valid.
RULES: Final = ProfileRules(namespace="edge", with_secrets=True, allow_http=True)


def profile_problems(text: str) -> Found:
    plan = plan_of(text, RULES)
    return plan.problems if isinstance(plan, Rejected) else ()


words = mostly(["a", "an id"], "", one_in=6)
reference = maybe | mapping(
    ("namespace",),
    name=mostly(["a", "a-b.c"], "A", "a..b", "-a", ""),
    key=mostly(["id", "A_b.c"], "", "a b", "a/b"),
    namespace=maybe | mostly(["", "vault"], "a.b"),
)
credential = {"clientID": words, "clientIDSecretRef": reference, "clientSecret": words, "clientSecretSecretRef": reference}
cache = mapping(
    ("evictRejected",),
    evictRejected=maybe | rarely(st.sampled_from(["true", 1]), st.booleans(), 9),
    maxTTL=mostly(["90s", "1h30m", "+5m", "1.5s", ".5h", "2000ms"], "", "5", "m", "5 m", "1d"),
    maxEntries=rarely(st.sampled_from([0, -1, 1_000_001, "5", True]), st.integers(1, 1_000_000), 9),
)
limits = mapping(
    ("maxInFlight", "breaker"),
    maxInFlight=maybe | rarely(st.sampled_from([0, 10_001, 1.5]), st.integers(1, 10_000), 9),
    breaker=maybe | rarely(st.sampled_from(["true", 1]), st.booleans(), 9),
)
profile = mapping(
    ("bearerRealm", "tokenEndpointAuthMethod", "proxy", "tokenEndpointProtocol", "cache", "limits", *credential),
    tokenEndpointProtocol=maybe | mostly(["", "auto", "http1", "http2"], "h2"),
    cache=maybe | cache,
    limits=maybe | limits,
    name=mostly(["primary", "second profile"], "", one_in=6).map(plainly),
    tokenEndpoint=mostly(["https://a.example/token?t=a", "HTTP://a:80"], "", "a", "ftp://a").map(plainly),
    bearerRealm=maybe | words,
    tokenEndpointAuthMethod=maybe | mostly(["", "client_secret_basic", "client_secret_post"], "none"),
    proxy=maybe | mostly(["http://a:3128", "https://u:p%20@a/"], "", "socks://a"),
    **credential,
)


def issuers(**fields: object) -> object:
    return {"issuers": [{"name": "p", "tokenEndpoint": "https://a.example", "clientID": "a", "clientSecret": "b", **fields}]}


def with_client(fields: dict[str, object]) -> object:
    return {"issuers": [{"name": "p", **fields}]}


issuer_pieces = st.sampled_from(
    [*":/@%?# \\é-_\t[]", "http", "HTTPS", "https", "://", "//", "a", "a.example", "[::1]", ":80", ":99999", "u:p", "%41"]
)
issuer_urls = st.lists(issuer_pieces, max_size=6).map("".join)
secret = st.sampled_from([None, {"name": "a", "key": "b"}])
CLIENT: Final = {
    "clientID": st.sampled_from([None, "", " ", "a"]),
    "clientIDSecretRef": secret,
    "clientSecret": st.sampled_from([None, "", "a"]),
    "clientSecretFile": st.sampled_from([None, "", "/secret"]),
    "clientSecretSecretRef": secret,
    "tokenEndpointAuthMethod": st.sampled_from([None, "", "none", "client_secret_post", " none "]),
    "clientAssertion": st.sampled_from([None, {"algorithm": "ES256", "keyFile": "/key"}]),
    "clientAssertionFile": st.sampled_from([None, {"path": "/assertion", "type": "jwt-spiffe"}]),
    "clientCertificate": st.sampled_from([None, {"certFile": "/cert", "keyFile": "/key"}]),
    "tokenEndpoint": st.sampled_from([None, "", "https://a.example"]),
    "discovery": st.sampled_from([None, " ", "https://a.example"]),
}
ISSUED_TOKEN: Final = {
    "audience": maybe | mostly(["requested", ""], "any", "same") | st.lists(st.sampled_from(["a", "b", ""]), max_size=3),
    "subject": maybe | mostly(["same", "any", ""], "sub") | st.fixed_dictionaries({}, optional={"claim": maybe | around(st.just("oid"))}),
    "actor": maybe | mostly(["same", "none", "any", ""], "other"),
    "scope": maybe | mostly(["requested", "any", ""], "granted"),
    "scopeAlso": maybe | st.lists(st.sampled_from(["openid", ""]), max_size=2),
    "maxLifetime": st.sampled_from([None, "15m", "8761h", "", "1d"]),
    "signature": maybe,
    "opaque": maybe | mostly(["reject", "pass", ""], "allow"),
}
ASSERTION: Final = {
    "from": st.sampled_from([None, "", " ", "p", "idp", "none"]),
    "requestedTokenType": maybe | st.sampled_from(["", "urn:x", "jwt"]),
    "audience": maybe | st.sampled_from(["", "https://a.example"]),
    "reuse": maybe | st.booleans(),
}
CHAINED: Final = {"name": "p", "tokenEndpoint": "https://a.example", "clientID": "a", "clientSecret": "b", "grantType": "jwt-bearer"}
PROFILES: Final = DocumentKind(
    "issuers",
    profile_problems,
    mapping(("issuers",), issuers=maybe | st.lists(profile, max_size=1)),
    {
        "token endpoint": Part(
            around(issuer_urls | issuer_urls.map("https://{}".format) | some_texts),
            lambda text: issuers(tokenEndpoint=text),
            lambda _, found: (
                all("tokenEndpoint" in text for text in found)
                and any(reason in found[0] for reason in ("usable host", "is not a URL", "user information"))
            ),
            ("https:/a.example", "https://a.example#", "https://@a.example", "https://a.example/@"),
        ),
        "proxy": Part(
            around(issuer_urls | issuer_urls.map("http://{}".format) | some_texts),
            lambda text: issuers(proxy=text),
            lambda _, found: any(reason in found[0] for reason in ("usable host", "UTF-8", "colon in its user name", "control character")),
            ("http://a%3Ab@h:1", "http://%ff@h", "http://%00@h"),
        ),
        "credential": Part(
            st.fixed_dictionaries({}, optional=dict.fromkeys(credential, st.sampled_from([None, "", " ", "a", {"name": "a", "key": "b"}]))),
            lambda given: with_client({"tokenEndpoint": "https://a.example", **given}),
        ),
        "client": Part(
            st.fixed_dictionaries({}, optional=CLIENT),
            with_client,
            examples=(
                {"clientID": "a", "tokenEndpointAuthMethod": "none", "discovery": "https://a.example"},
                {"clientAssertionFile": {"path": "/assertion"}, "discovery": "https://a.example"},
                {"clientID": "a", "clientAssertion": {"algorithm": "ES256", "keyFile": "/key"}, "tokenEndpoint": "https://a.example"},
            ),
        ),
        "issued token": Part(
            st.fixed_dictionaries({}, optional=ISSUED_TOKEN),
            lambda given: issuers(issuedToken={"issuer": "https://a.example", **given}),
            lambda _, found: all(
                any(reason in text for reason in ("different texts", "claim must have", "needs", "between")) for text in found
            ),
        ),
        "assertion": Part(
            st.fixed_dictionaries({}, optional=ASSERTION),
            lambda given: {"issuers": [CHAINED | {"assertion": given}, CHAINED | {"name": "idp", "grantType": ""}]},
            lambda _, found: all(
                any(reason in text for reason in ("must name another", "does not exist", "must be a URI", "needs audience"))
                for text in found
            ),
        ),
        "duration": Part(
            around(st.text("0123.+smhµμnu ", max_size=6)),
            lambda text: issuers(cache={"maxTTL": text, "maxEntries": 1}),
            lambda text, found: "between 1s and 24h" in found[0] or len(text) > 32,
            ("23h60m", "24h1ns", "999ms", "0"),
        ),
    },
)
KINDS: Final = (POLICY, GRANTS, TESTS, PROFILES)
