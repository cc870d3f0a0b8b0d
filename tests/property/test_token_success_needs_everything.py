"""Law: a token comes out of a response if, and only if, everything that the contract asks of it is there.

RFC 8693 section 2.2.1: status 200, a JSON object, an ``access_token`` that a header can carry, Bearer as ``token_type`` in any case, and
the expected ``issued_token_type`` unless that is switched off. The other members do not matter.
"""

import json

from hypothesis import given

from exchanger.oauth.token_response import TokenResponseRules, decode_response
from exchanger.values.secret import Secret
from exchanger.values.token import ExchangedToken
from tests.property.strategies_oauth import members, rules

VISIBLE = {chr(code) for code in range(0x21, 0x7F)}


def is_bearer_token(text: str) -> bool:
    return bool(text) and set(text) <= VISIBLE - set(',"\\')


def is_success(value: dict[str, object], rules: TokenResponseRules) -> bool:
    token, token_type, issued = (value.get(name) for name in ("access_token", "token_type", "issued_token_type"))
    return (
        isinstance(token, str)
        and is_bearer_token(token)
        and len(token) <= 64 * 1024
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
