"""Strategies for token requests, and for what a token endpoint may answer."""

import json

from hypothesis import strategies as st

from exchanger.exchange.oauth.token_response import TokenResponseRules
from exchanger.model.bearer import MAX_TOKEN_LENGTH
from exchanger.model.entry import TokenTarget
from exchanger.model.issuer import (
    ActorCredentials,
    ActorToken,
    Assertion,
    AssertionType,
    AuthMethod,
    ClientCertificate,
    ClientProof,
    Credentials,
    ErrorStyle,
    Grant,
    GrantType,
    Issuer,
    SigningAlgorithm,
    SigningKey,
    SubjectRules,
)
from exchanger.model.proxy import Proxy
from exchanger.model.secret import Secret
from exchanger.model.token import ACCESS_TOKEN_TYPE, TokenRequest
from exchanger.model.trace import TraceContext
from tests.property.strategies_policy import rarely

texts = st.text(max_size=40)
words = st.text(min_size=1, max_size=20)

targets = st.builds(
    TokenTarget,
    issuer_ref=st.just("primary"),
    scope=words,
    resources=st.lists(words, max_size=3).map(tuple),
    audiences=st.lists(words, max_size=3).map(tuple),
)
secrets = texts.map(Secret)
proofs: st.SearchStrategy[ClientProof] = st.one_of(
    secrets,
    secrets,
    st.none(),
    st.builds(SigningKey, secrets, st.sampled_from(SigningAlgorithm), key_id=texts, audience=texts),
    st.builds(Assertion, secrets, st.sampled_from(AssertionType), subject=texts),
    st.builds(ClientCertificate, texts, secrets),
)
credentials = st.builds(Credentials, client_id=texts, proof=proofs, generation=st.integers(0, 2))
actors: st.SearchStrategy[ActorToken | ActorCredentials | None] = st.one_of(
    st.none(), st.builds(ActorToken, secrets, type=words, subject=texts), st.builds(ActorCredentials, scope=texts)
)
grants = st.builds(
    Grant,
    type=st.sampled_from(GrantType),
    requested_token_type=texts,
    actor=actors,
    parameters=st.lists(st.tuples(words, texts), max_size=3).map(tuple),
)
issuers = st.builds(
    Issuer,
    name=st.just("primary"),
    token_endpoint=st.sampled_from(["https://issuer.example.com/token", ""]),
    endpoint_host=st.just("issuer.example.com"),
    auth_method=st.sampled_from(AuthMethod),
    credentials=credentials,
    previous=st.none() | credentials,
    discovery=st.sampled_from(["", "https://issuer.example.com"]),
    ca_pem=st.none() | texts,
    grant=grants,
    subject=st.builds(SubjectRules, issuers=st.lists(words, max_size=2).map(tuple), audiences=st.lists(words, max_size=2).map(tuple)),
    errors=st.sampled_from(ErrorStyle),
)
token_requests = st.builds(
    TokenRequest,
    issuer=issuers,
    subject_token=texts.map(Secret),
    target=targets,
    grant_type=texts,
    subject_token_type=texts,
    trace=st.builds(TraceContext, traceparent=texts, tracestate=texts, baggage=texts),
)

rules = st.builds(
    TokenResponseRules,
    error_passthrough=st.booleans(),
    require_issued_token_type=st.booleans(),
    expected_issued_token_type=st.sampled_from([ACCESS_TOKEN_TYPE, "urn:example:jwt"]),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
# Mostly a success but for the issued token type, which the rules may want or not.
almost_successes = st.fixed_dictionaries(
    {
        "access_token": rarely(
            st.sampled_from(["a" * (MAX_TOKEN_LENGTH + 1), "not usable"]),
            st.sampled_from(["issued", "A-Z._~+/0==", "a" * MAX_TOKEN_LENGTH]),
            one_in=5,
        ),
        "token_type": rarely(st.just("N_A"), st.sampled_from(["Bearer", "bearer", "bEARER"]), one_in=5),
        "issued_token_type": st.sampled_from([ACCESS_TOKEN_TYPE, "urn:example:jwt", None]),
    },
    optional={"refresh_token": json_values, "scope": json_values},
)
any_members = st.fixed_dictionaries(
    {},
    optional={
        "access_token": st.sampled_from(["issued", "A-Z._~+/0==", "", "not usable", "a\r\nb"]) | json_values,
        "token_type": st.sampled_from(["Bearer", "bearer", "N_A", ""]) | json_values,
        "issued_token_type": st.sampled_from([ACCESS_TOKEN_TYPE, "urn:example:jwt", ""]) | json_values,
        "error": st.sampled_from(["invalid_grant", "invalid_client", "invalid_target", "server_error"]) | json_values,
        "expires_in": json_values,
    },
)
members = rarely(any_members, almost_successes, one_in=3)
objects = members.map(lambda value: json.dumps(value).encode())
bodies = objects | st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode())
statuses = st.sampled_from([200, 201, 204, 301, 302, 307, 308, 400, 401, 403, 404, 429, 500, 503]) | st.integers(100, 599)
challenges = st.lists(
    st.sampled_from(['Basic realm="issuer"', "a\r\nb", "\x85", "a" * 5000]) | st.text(st.characters(max_codepoint=255), max_size=8),
    max_size=12,
)

small_texts = st.sampled_from(["", "a", "a b", "a&scope=b", "b"])
similar_requests = st.builds(
    TokenRequest,
    issuer=st.builds(
        Issuer,
        name=st.just("primary"),
        token_endpoint=st.sampled_from(["http://one.example/token", "http://two.example/token"]),
        endpoint_host=st.just("issuer.example.com"),
        auth_method=st.sampled_from(AuthMethod),
        credentials=st.builds(Credentials, client_id=st.just("client"), proof=small_texts.map(Secret), generation=st.integers(0, 1)),
        proxy=st.none()
        | st.builds(Proxy, st.just(False), st.sampled_from(["a.example", "b.example"]), st.just(1), small_texts.map(Secret)),
    ),
    subject_token=small_texts.map(Secret),
    target=st.builds(
        TokenTarget,
        issuer_ref=st.just("primary"),
        scope=st.sampled_from(["a", "a b", "a&audience=b"]),
        resources=st.lists(small_texts, max_size=2).map(tuple),
        audiences=st.lists(small_texts, max_size=2).map(tuple),
    ),
    grant_type=st.just("grant"),
    subject_token_type=st.just("type"),
    trace=st.builds(TraceContext, baggage=small_texts),
)
