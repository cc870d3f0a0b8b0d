"""What somebody asks about a request that was never made, and what the service would answer, in words.

``exchanger explain``, ``test`` and ``diff`` and the console's form all build the request here and tell the answer in these words, so that
they cannot differ from each other. The decision itself is ``begin``'s.

Must not know: where the question or the policy comes from, or how an answer is shown.
"""

import enum
from collections.abc import Iterable
from typing import Final, assert_never, final

import attrs

from exchanger.decision.bearer import NoToken, read_bearer
from exchanger.decision.outcome import Allow, Deny, ExchangePending, Outcome, Reason
from exchanger.values.entry import BASELINE, Source, TokenTarget
from exchanger.values.headers import HeaderFields
from exchanger.values.issuer import Issuer
from exchanger.values.request import HttpRequest
from exchanger.values.secret import Secret

# One value for each thing that a decision may find in Authorization: the real one never leaves whoever asks.
STAND_INS: Final[dict[NoToken | None, str]] = {
    None: "Bearer assumed",
    NoToken.ABSENT: "",
    NoToken.NOT_BEARER: "Basic assumed",
    NoToken.NOT_ONE: "Bearer assumed, Bearer assumed",
    NoToken.INVALID: 'Bearer "',
}

# Headers that never leave whoever asks: of these, a question that travels says only the kind.
CREDENTIALS: Final = frozenset({"authorization", "proxy-authorization", "cookie"})
# The stand-ins by name, for questions that travel.
STAND_INS_BY_NAME: Final = {"bearer" if kind is None else kind.name.lower(): text for kind, text in STAND_INS.items()}


def kind_of_credentials(authorization: Secret | None) -> str:
    """Return the name in ``STAND_INS_BY_NAME`` of what a decision finds in ``authorization``."""
    found = read_bearer(authorization)
    return found.name.lower() if isinstance(found, NoToken) else "bearer"


def asked_request(method: str, host: str, path: str, headers: Iterable[tuple[str, str]] = (), *, raw: bool = False) -> HttpRequest:
    """Return the request as the gateway's message would be read; ``headers`` are one pair for each time that a field is sent.

    ``host`` counts unless ``headers`` have one. ``raw``: the gateway sends path and headers byte for byte; otherwise it joins repeated
    fields with commas, and a ``!`` may stand for a byte that is not UTF-8.
    """
    fields = tuple((name.lower(), value) for name, value in headers)
    joined: dict[str, str] = {}
    for name, value in fields:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    authorization = joined.get("authorization")
    return HttpRequest(
        method.upper() if method.isascii() else method,
        joined.get("host") or host,
        path,
        Secret(authorization) if authorization else None,
        joined.get("origin", ""),
        joined.get("access-control-request-method", ""),
        path_is_raw=raw,
        fields=HeaderFields(fields if raw else tuple(joined.items()), raw=raw),
    )


@final
@enum.unique
class Effect(enum.Enum):
    """What becomes of a request. ``REFUSED`` is neither a denial by an entry nor the default for unmatched requests."""

    EXCHANGE = "exchange"
    DENY = "deny"
    ALLOW = "allow"
    UNMATCHED = "unmatched"
    REFUSED = "refused"


@final
@attrs.frozen
class Answer:
    """What becomes of a request, and why in words.

    ``status`` is that of the refusal, ``None`` if the request passes or depends on an exchange. ``source`` and ``index`` are the entry that
    decides, or that is to blame; ``target``, ``issuer`` and ``resource_metadata`` are those of an exchange.
    """

    effect: Effect
    status: int | None
    reason: str
    source: Source | None = None
    index: int | None = None
    target: TokenTarget | None = None
    issuer: Issuer | None = attrs.field(default=None, repr=False)
    resource_metadata: str = ""

    @property
    def passes(self) -> bool:
        """Whether the request reaches the upstream if its exchange, where there is one, succeeds."""
        return self.status is None


_REASONS: Final = {
    Reason.ALLOW_UNMATCHED: "no entry applies, so the request passes unchanged",
    Reason.DENY_UNMATCHED_DEFAULT: "no entry applies, and unmatched requests are denied by default",
    Reason.DENY_EXPLICIT_POLICY: "an entry denies the request",
    Reason.ALLOW_EXPLICIT_POLICY: "an entry lets the request pass unchanged",
    Reason.ALLOW_OPTIONS_BYPASS: "an entry asks for an exchange, but OPTIONS without credentials passes unchanged",
    Reason.DENY_MISSING_BEARER: "an entry asks for an exchange, and the request has no bearer token",
    Reason.DENY_INVALID_BEARER: "an entry asks for an exchange, and the bearer token cannot be one",
}
_BASELINE: Final = "the platform's baseline denies the request before any policy"
_EXCHANGE: Final = "an entry asks for an exchange: the request passes with the token that the issuer returns"


def answer_of(begun: Outcome | ExchangePending) -> Answer:
    """Return what ``begin`` said of a request."""
    match begun:
        case ExchangePending(entry, asked):
            source, index, metadata = entry.source, entry.index, entry.resource_metadata
            return Answer(Effect.EXCHANGE, None, _EXCHANGE, source, index, entry.target, asked.issuer, metadata)
        case Allow():
            effect = Effect.UNMATCHED if begun.reason is Reason.ALLOW_UNMATCHED else Effect.ALLOW
            return Answer(effect, None, _REASONS.get(begun.reason, begun.reason.value), begun.source, begun.entry_index)
        case Deny():
            effect = _effect_of(begun.reason)
            by_platform = effect is Effect.DENY and begun.source == BASELINE
            reason = _BASELINE if by_platform else begun.detail or _REASONS.get(begun.reason, begun.reason.value)
            return Answer(effect, begun.status, reason, begun.source, begun.entry_index)
        case _:
            assert_never(begun)


def _effect_of(reason: Reason) -> Effect:
    if reason is Reason.DENY_EXPLICIT_POLICY:
        return Effect.DENY
    return Effect.UNMATCHED if reason is Reason.DENY_UNMATCHED_DEFAULT else Effect.REFUSED
