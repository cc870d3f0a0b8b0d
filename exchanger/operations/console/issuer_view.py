"""The issuers as the console shows them. Pure; no secret.

For the active profiles: how the client authenticates, and the non-default settings. And the issuers under overload protection: those that
are not called, and those for which exchanges wait.

Must not know: how profiles are resolved, who finds metadata, how issuers are protected, or who watches.
"""

from collections.abc import Callable, Iterable
from typing import Final, assert_never, final

import attrs

from exchanger.authz.decision.answer import profile_of
from exchanger.model.issuer import Assertion, ClientCertificate, ClientProof, Issuer, SigningKey
from exchanger.model.secret import Secret
from exchanger.util.text import printable

# Profiles that are listed; operators write a handful.
MAX_PROFILES: Final = 200
# Characters of a name, an address, or a profile's description.
_TEXT_LIMIT: Final = 1024
# Protected issuers that are listed, those that are not called first; the rest is counted. The history repeats them for each second.
MAX_ISSUERS: Final = 10
_NAME_LIMIT: Final = 64


def shown_profiles(issuers: Iterable[Issuer], is_known: Callable[[Issuer], bool]) -> dict[str, object]:
    """Return ``issuers`` as JSON by name, and how many ``more`` there are. ``is_known``: whether the metadata of one are."""
    every = sorted(issuers, key=lambda issuer: issuer.name)
    listed = [
        {
            "name": _text(issuer.name),
            "endpoint": _text(issuer.endpoint_host),
            "client": client_of(issuer.credentials.proof),
            "discovery": {"issuer": _text(issuer.discovery), "known": is_known(issuer)} if issuer.discovery else None,
            "profile": [{"name": name, "text": _text(text)} for name, text in profile_of(issuer)],
        }
        for issuer in every[:MAX_PROFILES]
    ]
    return {"listed": listed, "more": len(every) - len(listed)}


def client_of(proof: ClientProof) -> str:
    """Return in a word or two how a client with ``proof`` authenticates."""
    match proof:
        case Secret():
            return "client secret"
        case SigningKey():
            return f"signed assertion ({proof.algorithm.value})"
        case Assertion():
            return "assertion file"
        case ClientCertificate():
            return "certificate"
        case None:
            return "public"
        case _:
            assert_never(proof)


def _text(text: str) -> str:
    return printable(text, _TEXT_LIMIT)


@final
@attrs.frozen
class IssuerHealth:
    """An issuer whose profile has a breaker or a limit: whether it ``is_open``, and how many exchanges are ``queued``.

    ``in_flight`` calls are in progress, of ``max_in_flight`` (``None``: any number). ``retry_in`` is the seconds until the next probe.
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
