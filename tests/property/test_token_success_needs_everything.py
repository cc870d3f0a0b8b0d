"""Law: a token comes out of a response if, and only if, everything that the contract asks of it is there.

RFC 8693 section 2.2.1 with RFC 6750 section 2.1: status 200, a JSON object, a b64token of at most 16 KiB as ``access_token``, Bearer as
``token_type`` in any case, and the expected ``issued_token_type`` unless that is switched off. The other members do not matter.
"""

import json
import string

from hypothesis import given

from exchanger.decision.token_exchange import TokenResponseRules, decode_response
from exchanger.values.secret import Secret
from exchanger.values.token import ExchangedToken
from tests.property.strategies_oauth import members, rules

B64 = set(string.ascii_letters + string.digits + "-._~+/")


def is_b64token(text: str) -> bool:
    stem = text.rstrip("=")
    return bool(stem) and set(stem) <= B64


def is_success(value: dict[str, object], rules: TokenResponseRules) -> bool:
    token, token_type, issued = (value.get(name) for name in ("access_token", "token_type", "issued_token_type"))
    return (
        isinstance(token, str)
        and is_b64token(token)
        and len(token) <= 16 * 1024
        and isinstance(token_type, str)
        and token_type.upper() == "BEARER"
        and (issued is None or isinstance(issued, str))
        and (not rules.require_issued_token_type or issued == rules.expected_issued_token_type)
    )


@given(members, rules)
def test_success(value: dict[str, object], rules: TokenResponseRules) -> None:
    outcome = decode_response(200, (), json.dumps(value).encode(), rules)
    if is_success(value, rules):
        assert outcome == ExchangedToken(Secret(str(value["access_token"])))
    else:
        assert not isinstance(outcome, ExchangedToken)
