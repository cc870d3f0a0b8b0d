"""Laws of decisions."""

import json
from urllib.parse import urlsplit

import attrs
from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.authz.decision.check import DecisionRules, begin, finish
from exchanger.authz.decision.outcome import Allow, DecisionReason, Deny, ExchangePending
from exchanger.exchange.oauth.token_response import TokenResponseRules, decode_response
from exchanger.model.entry import ExchangeEntry
from exchanger.model.token import ExchangedToken
from exchanger.policy.documents.document import parse_document
from exchanger.policy.snapshot import PolicySnapshot
from tests.authz.decision.examples import RULES, SOURCE, request, snapshot
from tests.property.strategies_policy import ISSUERS, rarely

# An allow has one of three reasons: nothing matched, OPTIONS without credentials, or an exchange that succeeded.


SNAPSHOT = snapshot()

paths = st.one_of(
    st.text(),
    st.sampled_from(["/orders", "/plain/x", "/admin", "/broken", "/tie", "/public"]).flatmap(
        lambda path: st.text(max_size=5).map(lambda tail: path + tail)
    ),
)
authorizations = st.one_of(st.none(), st.text(), st.text().map(lambda text: f"Bearer {text}"), st.just("Bearer token"))
rules = st.builds(
    lambda default_deny, options: attrs.evolve(RULES, default_deny_unmatched=default_deny, allow_unauthenticated_options=options),
    st.booleans(),
    st.booleans(),
)


@given(paths, st.sampled_from(["GET", "OPTIONS", "POST", ""]), authorizations, st.sampled_from(["", "o"]), st.booleans(), rules)
def test_begin_allows_for_two_reasons_only(
    path: str, method: str, authorization: str | None, origin: str, known: bool, chosen: DecisionRules
) -> None:
    asked = request(path, authorization, method, origin=origin, access_control_request_method=origin)
    outcome = begin(asked, SNAPSHOT if known else None, chosen)
    if isinstance(outcome, Allow):
        assert known
        assert outcome.access_token is None
        assert outcome.reason in {DecisionReason.ALLOW_UNMATCHED, DecisionReason.ALLOW_OPTIONS_BYPASS}
        assert (outcome.reason is DecisionReason.ALLOW_UNMATCHED) <= (not chosen.default_deny_unmatched)
        assert (outcome.reason is DecisionReason.ALLOW_OPTIONS_BYPASS) <= (method == "OPTIONS")


# Law: a request that names two authorities passes only if it would pass on each of them.
AUTHORITIES = ["api.example.com", "second.example.com", "below.wild.example.com", "other.example.com", "a b"]
PAIRS = snapshot("""
version: v1
entries:
  - {match: {host: api.example.com, pathPrefix: /}, action: allow}
  - {match: {host: api.example.com, pathPrefix: /b}, action: deny}
  - {match: {host: second.example.com, pathPrefix: /a}, action: allow}
  - {match: {host: second.example.com, pathPrefix: /c}, action: deny}
  - {match: {host: '*.wild.example.com', pathPrefix: /a}, action: allow}
""")


@given(
    st.sampled_from(AUTHORITIES),
    st.sampled_from(AUTHORITIES),
    st.sampled_from(["/", "/a", "/b", "/c", "/d"]),
    st.sampled_from(["GET", "OPTIONS", "HEAD"]),
    rules,
    st.booleans(),
)
def test_two_authorities_let_a_request_pass_only_if_each_does(
    host: str, named: str, path: str, method: str, chosen: DecisionRules, absolute: bool
) -> None:
    alone = [begin(request(path, None, method, host=one), PAIRS, chosen) for one in (host, named)]
    asked = (
        request(f"http://{named}{path}", None, method, host=host)
        if absolute
        else request(path, None, method, host=host, target_authority=named)
    )

    outcome = begin(asked, PAIRS, chosen)

    event(f"{type(outcome).__name__} of {sorted(type(one).__name__ for one in alone)}")
    assert isinstance(outcome, Deny) or all(isinstance(one, Allow) for one in alone)
    if host == named and not absolute:
        assert outcome == alone[0]


@given(st.integers(100, 599), st.binary(), st.lists(st.text(), max_size=3), st.booleans())
def test_only_a_success_of_the_token_endpoint_allows(status: int, body: bytes, challenges: list[str], passthrough: bool) -> None:
    pending = begin(request("/orders", "Bearer token"), SNAPSHOT, RULES)
    assert isinstance(pending, ExchangePending)
    outcome = decode_response(status, challenges, body, TokenResponseRules(error_passthrough=passthrough))
    answer = finish(pending, outcome)
    assert isinstance(answer, Allow) == isinstance(outcome, ExchangedToken)
    if isinstance(answer, Allow):
        assert status == 200
        assert answer.access_token is not None


# Law: metadata that an entry names is on a host whose requests it may decide, and its challenge carries the URL as it was written.
#
# A client that follows the challenge thus never leaves the host that it asked, or one that the same author speaks for.


hosts = st.sampled_from(["a.example", "x.a.example", "*.a.example", "*.example", "[2001:db8::1]", "A.example.:8443"])
pieces = st.sampled_from(
    [
        *'/?:.@#,\\"*[]-;% ',
        "a.example",
        "b",
        "https://",
        "//",
        ":8443",
        "[2001:db8::1]",
        "%40",
        "\t",
        "\n",
        "\r",
        "\u3002",
        "é",
        "\x00",
        "example",
    ]
)
junk = st.lists(pieces, max_size=6).map("".join)
urls = st.builds(
    lambda before, host, after: f"{before}{host}{after}",
    rarely(junk, st.sampled_from(["https://", "HTTPS://"]), one_in=4),
    rarely(junk, st.sampled_from(["a.example", "x.a.example", "X.x.A.example.", "b.example", "[2001:DB8:0::1]"]), one_in=4),
    junk | st.sampled_from(["", "/", ":8443/x", "?y"]),
)


@given(hosts, urls)
def test_metadata_is_on_a_host_that_the_entry_decides_for(host: str, url: str) -> None:
    exchange = {"issuerRef": "primary", "scope": "s", "resourceMetadata": url}
    entry = {"match": {"host": host, "pathPrefix": "/"}, "action": "exchange", "exchange": exchange}
    document = parse_document(SOURCE, json.dumps({"version": "v1", "entries": [entry]}), ISSUERS)
    event("accepted" if document.entries else "refused")
    if not document.entries:
        return
    (read,) = document.entries
    assert isinstance(read, ExchangeEntry)
    found = read.resource_metadata
    assert found == url.strip()
    if found:
        parts = urlsplit(found)
        assert (parts.scheme, parts.username, parts.password, parts.fragment) == ("https", None, None, "")
        answer = begin(request("/", host=parts.netloc), PolicySnapshot.EMPTY.changed({document.source: document}), RULES)
        assert isinstance(answer, Deny)
        assert answer.entry_index == 0
        ((name, challenge),) = answer.headers
        assert (name, challenge) == ("WWW-Authenticate", f'Bearer realm="issuer", scope="s", resource_metadata="{found}"')
