"""Law: every response of a token endpoint has an outcome, and no outcome shows the client more than the contract allows.

Whatever the status, the challenges and the bytes: decoding returns a value; a failure is 400, 401 or 500 with a JSON object in canonical
form, unless passthrough is on and the error is a recognised one; what is relayed is safe to be a header.
"""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from exchanger.errors import Diagnostic
from exchanger.net.answer import TooLarge
from exchanger.oauth.token_response import TokenResponseRules, decode_response
from exchanger.values.token import ExchangedToken
from tests.property.strategies_oauth import bodies, challenges, rules, statuses

CANONICAL = re.compile(r'\{"error":"[a-z_]+","(?:error_description|message)":"[a-z ]+ \(TXE-[0-9]{4}\)"\}')


@given(statuses, challenges, bodies | st.just(TooLarge.TOO_LARGE), rules)
def test_total(status: int, www_authenticate: list[str], body: bytes | TooLarge, rules: TokenResponseRules) -> None:
    outcome = decode_response(status, www_authenticate, body, rules)
    if isinstance(outcome, ExchangedToken):
        assert status == 200
        return
    assert outcome.http_status == status
    assert outcome.status == (status if status in {400, 401} else 500)
    if rules.error_passthrough and outcome.diagnostic is Diagnostic.OAUTH_ERROR:
        assert isinstance(body, bytes)
        assert outcome.body == body.decode()
    else:
        assert CANONICAL.fullmatch(outcome.body)
        assert outcome.body.endswith(f'({outcome.diagnostic.value})"}}')
        assert list(json.loads(outcome.body)) == sorted(json.loads(outcome.body))
    assert len(outcome.www_authenticate) <= 8
    assert all(value in www_authenticate and len(value) <= 4096 for value in outcome.www_authenticate)
    assert not any(
        ord(character) in {*range(9), *range(10, 32), *range(127, 160)} for value in outcome.www_authenticate for character in value
    )
