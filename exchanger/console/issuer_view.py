"""The issuer profiles in force as the console shows them: how the client authenticates, and what is not as usual. Pure; no secret.

Must not know: how profiles are resolved, or who finds metadata.
"""

from collections.abc import Callable, Iterable
from typing import Final, assert_never

from exchanger.decision.answer import profile_of
from exchanger.util.text import printable
from exchanger.values.issuer import Assertion, ClientCertificate, ClientProof, Issuer, SigningKey
from exchanger.values.secret import Secret

# Profiles that are listed; operators write a handful.
MAX_PROFILES: Final = 200
# Characters of a name, an address, or what is said of a profile.
_TEXT_LIMIT: Final = 1024


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
