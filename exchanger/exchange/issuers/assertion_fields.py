"""The fields of a profile about its assertion, which another profile's issuer issues. As written, with rules and schema.

Must not know: how an assertion is verified, or sent.
"""

from typing import Final, final

import attrs

from exchanger.exchange.issuers.exchange_fields import is_uri
from exchanger.exchange.issuers.rules import described
from exchanger.formats.yaml.text_rules import NOT_BLANK
from exchanger.model.issuer import ID_JAG, AssertionSource, GrantType

NEEDS_BEARER: Final = f"assertion is for the grantType {GrantType.JWT_BEARER.value} alone"


@final
@attrs.frozen
class AssertionExchange:
    """Which issuer issues the assertion, and what it is asked for."""

    from_: str = described("The name of the profile whose issuer issues the assertion (grantType token-exchange).", {"pattern": NOT_BLANK})
    requested_token_type: str = described(f"The type of the assertion, a URI. Default: {ID_JAG}.", default="")
    audience: str = described("Whom the assertion is for: this profile's issuer. Default: discovery.", default="")
    reuse: bool = described(
        "Whether an assertion may be sent more than once. It is kept in memory if the other profile has a cache. Default: false.",
        default=False,
    )

    def source(self, discovery: str, grant: GrantType, problems: list[str], *, has_client_id: bool) -> AssertionSource:
        """Return where assertions come from. Problems are added to ``problems``."""
        token_type, audience = self.requested_token_type or ID_JAG, self.audience or discovery
        if not self.from_:
            problems.append("assertion.from must name a profile")
        if grant is not GrantType.JWT_BEARER:
            problems.append(NEEDS_BEARER)
        if not is_uri(token_type):
            problems.append(f"assertion.requestedTokenType must be a URI such as {ID_JAG}")
        if not audience:
            problems.append("assertion needs audience, since the profile has no discovery")
        if token_type == ID_JAG and not has_client_id:
            problems.append("assertion needs clientID or clientIDSecretRef: an ID-JAG names the client that may use it")
        return AssertionSource(self.from_, token_type, audience, self.reuse)
