"""A small policy and its issuers, for the tests of decisions and answers."""

from rpds import HashTrieMap

from exchanger.authz.decision.check import DecisionRules
from exchanger.model.entry import Source
from exchanger.model.issuer import AuthMethod, Credentials, Issuer
from exchanger.model.request import HttpRequest
from exchanger.model.secret import Secret
from exchanger.policy.documents.document import parse_document
from exchanger.policy.snapshot import PolicySnapshot
from tests.policy.examples import EVERYTHING_GRANTED

SOURCE = Source("team", "policy")
PRIMARY = Issuer(
    name="primary",
    token_endpoint="https://issuer.example.com/token",
    endpoint_host="issuer.example.com",
    auth_method=AuthMethod.CLIENT_SECRET_BASIC,
    credentials=Credentials("client", Secret("client-secret")),
    bearer_realm="issuer",
)
SECOND = Issuer(
    name="second",
    token_endpoint="https://second.example.com/token",
    endpoint_host="second.example.com",
    auth_method=AuthMethod.CLIENT_SECRET_POST,
    credentials=Credentials("client", Secret("client-secret")),
)
RULES = DecisionRules(issuers=HashTrieMap({"primary": PRIMARY, "second": SECOND}))
POLICY = """
version: v1
entries:
  - match: {host: api.example.com, pathPrefix: /orders}
    action: exchange
    exchange: {issuerRef: primary, scope: "read:orders"}
  - match: {host: api.example.com, pathPrefix: /plain}
    action: exchange
    exchange: {issuerRef: second, audiences: [plain], resources: ["https://api.example.com/plain"]}
  - match: {host: api.example.com, pathPrefix: /admin}
    action: deny
  - match: {host: api.example.com, pathPrefix: /broken}
    action: exchange
  - match: {host: api.example.com, pathPrefix: /tie}
    action: deny
  - match: {host: api.example.com, pathPrefix: /tie}
    action: deny
"""


def snapshot(text: str = POLICY) -> PolicySnapshot:
    """Return the policy of one document."""
    return PolicySnapshot(grants=EVERYTHING_GRANTED).changed({SOURCE: parse_document(SOURCE, text, frozenset({"primary", "second"}))})


def request(
    path: str,
    authorization: str | None = None,
    method: str = "GET",
    *,
    host: str = "api.example.com",
    origin: str = "",
    access_control_request_method: str = "",
    target_authority: str = "",
) -> HttpRequest:
    """Return a request, to api.example.com unless told otherwise."""
    credentials = Secret(authorization) if authorization else None
    return HttpRequest(method, host, path, credentials, origin, access_control_request_method, target_authority=target_authority)
