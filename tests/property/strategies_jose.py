"""Strategies for tokens, their claims, and sets of keys: well-formed ones, those with any change, and any JSON in their places."""

import string

from hypothesis import strategies as st

from tests.formats.jwt.issuer import ISSUER, KEYS, KIDS, NOW, jwk, token

CHARACTERS = string.ascii_letters + string.digits + "-_.="
# One token for each algorithm: signing is slow.
TOKENS = {alg: token(alg) for alg in KIDS}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
finite_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
times = st.integers(NOW - 100, NOW + 100) | st.floats(NOW - 100, NOW + 100)
audiences = st.sampled_from(["gateway", "mesh", "somebody"])
# Each claim is right, almost right, or anything.
claims = st.fixed_dictionaries(
    {
        "iss": st.just(ISSUER) | finite_values,
        "aud": audiences | st.lists(audiences, max_size=3) | finite_values,
        "exp": times | finite_values,
    },
    optional={
        "nbf": times | finite_values,
        "iat": times | finite_values,
        "act": st.recursive(st.just({"sub": "a"}), lambda inner: st.fixed_dictionaries({"act": inner}), max_leaves=3) | finite_values,
        "cnf": finite_values,
        "may_act": finite_values,
        "sub": finite_values,
    },
)
headers = st.fixed_dictionaries(
    {"alg": st.just("ES256") | st.sampled_from(sorted(KIDS)) | finite_values},
    optional={
        "kid": st.just("p256") | st.sampled_from(sorted(KEYS)) | finite_values,
        "typ": st.sampled_from(["JWT", "at+JWT", "application/at+jwt", "dpop+jwt"]) | finite_values,
        "crit": finite_values,
        "b64": finite_values,
        "jwk": finite_values,
        "jku": finite_values,
        "x5c": finite_values,
    },
)

algorithms = st.sampled_from(sorted(KIDS))
texts = st.text(max_size=200) | st.lists(st.text(CHARACTERS, max_size=50), min_size=3, max_size=3).map(".".join)

members = st.sampled_from(["kty", "kid", "use", "key_ops", "alg", "n", "e", "crv", "x", "y", "d"])
member_values = (
    json_values | st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "P-384", "P-521", "Ed25519", "sig", *KIDS]) | st.text(CHARACTERS)
)
jwks = st.one_of(
    st.builds(
        lambda kid, changed: jwk(KEYS[kid], kid=kid) | changed,
        st.sampled_from(sorted(KEYS)),
        st.dictionaries(members, member_values, max_size=2),
    ),
    st.dictionaries(members, member_values),
    json_values,
)
