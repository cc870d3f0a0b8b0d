"""Law: the JSON Schema refuses no issuer profiles that the service reads, and lets pass none that it refuses, but for what it names."""

import json
from typing import Final

from hypothesis import event, example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from exchanger.issuers.profile_model import Rejected
from exchanger.issuers.rules import ProfileRules
from exchanger.issuers.schema import issuers_schema
from tests.issuers.fakes import plan_of
from tests.property import schema_law
from tests.property.schema_law import around, assert_accepts_what_is_read, mapping, mutated, some_texts
from tests.property.strategies_policy import rarely

VALIDATOR: Final = Draft202012Validator(issuers_schema())
# The rules under which most files are valid.
RULES: Final = ProfileRules(namespace="edge", with_secrets=True, allow_http=True)


def problems(text: str) -> tuple[str, ...]:
    plan = plan_of(text, RULES)
    return plan.problems if isinstance(plan, Rejected) else ()


def problems_of(document: object) -> tuple[str, ...]:
    return problems(json.dumps(document))


def is_refused(document: object) -> bool:
    return schema_law.is_refused(VALIDATOR, document, problems)


words = around(rarely(st.just(""), st.sampled_from(["a", "an id"])))
reference = st.none() | mapping(
    ("namespace",),
    name=around(rarely(st.sampled_from(["A", "a..b", "-a", ""]), st.sampled_from(["a", "a-b.c"]), 9)),
    key=around(rarely(st.sampled_from(["", "a b", "a/b"]), st.sampled_from(["id", "A_b.c"]), 9)),
    namespace=st.none() | around(rarely(st.just("a.b"), st.sampled_from(["", "vault"]), 9)),
)
credential = {"clientID": words, "clientIDSecretRef": reference, "clientSecret": words, "clientSecretSecretRef": reference}
durations = st.sampled_from(["90s", "1h30m", "+5m", "1.5s", ".5h", "2000ms"])
cache = mapping(
    (),
    maxTTL=around(rarely(st.sampled_from(["", "5", "m", "5 m", "1d"]), durations, 9)),
    maxEntries=rarely(st.sampled_from([0, -1, 1_000_001, "5", True]), st.integers(1, 1_000_000), 9),
)
limits = mapping(
    ("maxInFlight", "breaker"),
    maxInFlight=st.none() | rarely(st.sampled_from([0, 10_001, 1.5]), st.integers(1, 10_000), 9),
    breaker=st.none() | rarely(st.sampled_from(["true", 1]), st.booleans(), 9),
)
profile = mapping(
    ("bearerRealm", "tokenEndpointAuthMethod", "proxy", "tokenEndpointProtocol", "cache", "limits", *credential),
    tokenEndpointProtocol=st.none() | around(rarely(st.just("h2"), st.sampled_from(["", "auto", "http1", "http2"]), 9)),
    cache=st.none() | cache,
    limits=st.none() | limits,
    name=around(rarely(st.just(""), st.sampled_from(["primary", "second profile"]))).map(lambda text: text.strip("\ufeff\u200b")),
    tokenEndpoint=around(
        rarely(st.sampled_from(["", "a", "ftp://a"]), st.sampled_from(["https://a.example/token?t=a", "HTTP://a:80"]), 9)
    ).map(lambda text: text.strip("\ufeff\u200b")),
    bearerRealm=st.none() | words,
    tokenEndpointAuthMethod=st.none()
    | around(rarely(st.just("none"), st.sampled_from(["", "client_secret_basic", "client_secret_post"]), 9)),
    proxy=st.none() | around(rarely(st.sampled_from(["", "socks://a"]), st.sampled_from(["http://a:3128", "https://u:p%20@a/"]), 9)),
    **credential,
)
documents = mapping(("issuers",), issuers=st.none() | st.lists(profile, max_size=1))


@given(documents)
def test_the_schema_refuses_what_the_reader_refuses_and_nothing_else(document: object) -> None:
    found = problems_of(document)
    # A proxy's host is what the schema cannot judge, and a blank that is none may have come into it.
    assert is_refused(document) == bool(found), found


def with_profile(**fields: object) -> dict[str, object]:
    profile = {"name": "p", "tokenEndpoint": "https://a.example", "clientID": "a", "clientSecret": "b", **fields}
    return {"issuers": [profile]}


url_pieces = st.sampled_from(
    [*":/@%?# \\é-_\t[]", "http", "HTTPS", "https", "://", "//", "a", "a.example", "[::1]", ":80", ":99999", "u:p", "%41"]
)
urls = st.lists(url_pieces, max_size=6).map("".join)


@given(around(urls | urls.map("https://{}".format) | some_texts))
@example("https:/a.example")
@example("https://a.example#")
@example("https://@a.example")
@example("https://a.example/@")
def test_token_endpoints(text: str) -> None:
    document = with_profile(tokenEndpoint=text)
    if not is_refused(document) and (found := problems_of(document)):
        assert all("tokenEndpoint" in problem for problem in found)
        assert any(reason in found[0] for reason in ("usable host", "is not a URL", "user information")), found


@given(around(urls | urls.map("http://{}".format) | some_texts))
@example("http://a%3Ab@h:1")
@example("http://%ff@h")
@example("http://%00@h")
def test_proxies(text: str) -> None:
    document = with_profile(proxy=text)
    if not is_refused(document) and (found := problems_of(document)):
        assert any(reason in found[0] for reason in ("usable host", "UTF-8", "colon in its user name", "control character")), found


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(credential, st.sampled_from([None, "", " ", "a", {"name": "a", "key": "b"}]))))
def test_each_credential_has_exactly_one_place(given: dict[str, object]) -> None:
    document = {"issuers": [{"name": "p", "tokenEndpoint": "https://a.example", **given}]}
    assert is_refused(document) == bool(problems_of(document))


CLIENTS: Final = {
    "clientID": st.sampled_from([None, "", " ", "a"]),
    "clientIDSecretRef": st.sampled_from([None, {"name": "a", "key": "b"}]),
    "clientSecret": st.sampled_from([None, "", "a"]),
    "clientSecretSecretRef": st.sampled_from([None, {"name": "a", "key": "b"}]),
    "tokenEndpointAuthMethod": st.sampled_from([None, "", "none", "client_secret_post", " none "]),
    "clientAssertion": st.sampled_from([None, {"algorithm": "ES256", "keyFile": "/key"}]),
    "clientAssertionFile": st.sampled_from([None, {"path": "/assertion", "type": "jwt-spiffe"}]),
    "clientCertificate": st.sampled_from([None, {"certFile": "/cert", "keyFile": "/key"}]),
    "tokenEndpoint": st.sampled_from([None, "", "https://a.example"]),
    "discovery": st.sampled_from([None, " ", "https://a.example"]),
}


@given(st.fixed_dictionaries({}, optional=CLIENTS))
@example({"clientID": "a", "tokenEndpointAuthMethod": "none", "discovery": "https://a.example"})
@example({"clientAssertionFile": {"path": "/assertion"}, "discovery": "https://a.example"})
@example({"clientID": "a", "clientAssertion": {"algorithm": "ES256", "keyFile": "/key"}, "tokenEndpoint": "https://a.example"})
def test_a_client_authenticates_in_exactly_one_way(given: dict[str, object]) -> None:
    document = {"issuers": [{"name": "p", **given}]}
    event("refused" if is_refused(document) else "accepted")
    assert is_refused(document) == bool(problems_of(document)), problems_of(document)


@given(around(st.text("0123.+smhµμnu ", max_size=6)))
@example("23h60m")
@example("24h1ns")
@example("999ms")
@example("0")
def test_durations(text: str) -> None:
    document = with_profile(cache={"maxTTL": text, "maxEntries": 1})
    if not is_refused(document) and (found := problems_of(document)):
        assert "between 1s and 24h" in found[0] or len(text) > 32


@given(mutated(documents))
def test_what_the_reader_reads_in_any_yaml_the_schema_accepts(text: str) -> None:
    assert_accepts_what_is_read(VALIDATOR, text, problems)
