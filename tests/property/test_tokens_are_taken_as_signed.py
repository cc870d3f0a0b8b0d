"""Laws of callers' tokens: only what an issuer signed is accepted, in one text, exactly as the policy says, and any text is judged."""

from collections.abc import Mapping

from hypothesis import assume, example, given
from hypothesis import strategies as st

from exchanger.jwt import base64url
from exchanger.jwt.refusal import Refused
from exchanger.jwt.verify import Claims, UnknownKey
from tests.jwt.issuer import CLAIMS, ISSUER, NOW, claims, judged, raw
from tests.property.strategies_jose import CHARACTERS, TOKENS, algorithms, headers, texts
from tests.property.strategies_jose import claims as any_claims


@given(algorithms, st.data())
def test_a_token_with_any_change_is_not_accepted(alg: str, data: st.DataObject) -> None:
    token = TOKENS[alg]
    assert isinstance(judged(token), Claims)
    at, removed = data.draw(st.integers(0, len(token))), data.draw(st.integers(0, 3))
    changed = token[:at] + data.draw(st.text(CHARACTERS, max_size=3) | st.text(max_size=1)) + token[at + removed :]
    assume(changed != token)
    assert isinstance(judged(changed), Refused | UnknownKey)


@given(algorithms, st.data())
def test_a_token_with_any_bit_changed_is_not_accepted(alg: str, data: st.DataObject) -> None:
    parts = [base64url.decode(part) or b"" for part in TOKENS[alg].split(".")]
    which = data.draw(st.integers(0, 2))
    at, bit = data.draw(st.integers(0, len(parts[which]) - 1)), data.draw(st.integers(0, 7))
    parts[which] = parts[which][:at] + bytes([parts[which][at] ^ 1 << bit]) + parts[which][at + 1 :]
    assert isinstance(judged(".".join(map(base64url.encode, parts))), Refused | UnknownKey)


@given(texts)
def test_any_text_is_judged(token: str) -> None:
    assert not isinstance(judged(token), Claims)


@given(st.binary(max_size=100), st.binary(max_size=100), st.binary(max_size=100))
@example(b"{}", b"{}", b"\0")
@example(b"[" * 100_000, b"", b"")
def test_any_bytes_are_judged(header: bytes, payload: bytes, signature: bytes) -> None:
    assert not isinstance(judged(".".join(map(base64url.encode, (header, payload, signature)))), Claims)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308


def is_chain(act: object, left: int = 10) -> bool:
    return left > 0 and isinstance(act, dict) and ("act" not in act or is_chain(act["act"], left - 1))


def is_good(claims: Mapping[str, object]) -> bool:
    """The rules once more, in other words."""
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    times = [claims[name] for name in ("exp", "nbf", "iat") if name in claims]
    earliest = [claims[name] for name in ("nbf", "iat") if name in claims]
    return (
        claims["iss"] == ISSUER
        and all(isinstance(text, str) for text in audience)
        and any(text in ("gateway", "mesh") for text in audience)
        and all(map(is_number, times))
        and claims["exp"] > NOW - 30  # type: ignore[operator] # a number
        and all(time <= NOW + 30 for time in earliest)  # type: ignore[operator] # same
        and "cnf" not in claims
        and "may_act" not in claims
        and ("act" not in claims or is_chain(claims["act"]))
    )


@given(any_claims)
@example(claims(exp=NOW - 30))
@example(claims(exp=NOW - 29.9))
@example(claims(aud=["gateway", None]))
def test_signed_claims_are_accepted_if_they_are_good(claims: dict[str, object]) -> None:
    said = judged(raw({"alg": "ES256", "kid": "p256"}, claims))
    assert isinstance(said, Claims) is is_good(claims)
    assert not isinstance(said, UnknownKey)


@given(headers)
@example({"alg": "ES256"})
@example({"alg": "ES256", "kid": "p256", "typ": "at+JWT"})
def test_a_signed_header_is_accepted_if_it_is_good(header: dict[str, object]) -> None:
    good = header["alg"] == "ES256" and header.get("kid", "p256") == "p256" and {"crit", "b64"}.isdisjoint(header)
    typed = header.get("typ", "JWT") in ("JWT", "at+JWT", "application/at+jwt")
    assert isinstance(judged(raw(header, CLAIMS)), Claims) is (good and typed)


@given(st.binary(max_size=50))
def test_bytes_have_a_text(data: bytes) -> None:
    assert base64url.decode(base64url.encode(data)) == data


@given(st.text(CHARACTERS, max_size=20) | st.text(max_size=5))
def test_bytes_have_no_other_text(text: str) -> None:
    data = base64url.decode(text)
    assert data is None or base64url.encode(data) == text
