"""Which issuers are spared at the moment, as the console shows it: those that are not called, and those for which exchanges wait.

Must not know: who watches, or how issuers are spared.
"""

from collections.abc import Iterable
from typing import Final, final

import attrs

from exchanger.util.text import printable

# Issuers that are listed, those that are not called first; the rest is counted. The history of two minutes repeats them each second.
MAX_ISSUERS: Final = 10
_NAME_LIMIT: Final = 64


@final
@attrs.frozen
class IssuerHealth:
    """An issuer whose profile has a breaker or a limit: whether it ``is_open``, and how many exchanges are ``queued``.

    ``in_flight`` calls are under way, of ``max_in_flight`` (``None``: any number). ``retry_in`` is the seconds until the next probe.
    """

    name: str
    endpoint_host: str
    is_open: bool = False
    retry_in: float = 0.0
    queued: int = 0
    in_flight: int = 0
    max_in_flight: int | None = None


def shown_issuers(issuers: Iterable[IssuerHealth]) -> dict[str, object]:
    """Return those of ``issuers`` as JSON that are not called or have a queue, and how many ``more`` there are."""
    spared = [issuer for issuer in issuers if issuer.is_open or issuer.queued]
    spared.sort(key=lambda issuer: (not issuer.is_open, -issuer.queued, issuer.name))
    listed = [
        {
            "name": printable(issuer.name, _NAME_LIMIT),
            "endpoint": printable(issuer.endpoint_host, _NAME_LIMIT),
            "breaker_open": issuer.is_open,
            "retry_in_s": round(issuer.retry_in, 1),
            "queued": issuer.queued,
            "in_flight": issuer.in_flight,
            "max_in_flight": issuer.max_in_flight,
        }
        for issuer in spared[:MAX_ISSUERS]
    ]
    return {"listed": listed, "more": len(spared) - len(listed)}
