"""Makes of the realm's token those that the realm must refuse: without a signature, with half of it, and from somebody else. Pure.

Must not know: where the token comes from.
"""

from typing import Final

from exchanger.demo.scenario import Subject
from exchanger.demo.signatures import signed_by_a_stranger
from exchanger.demo.unsigned_jwt import claims_of, encode

STRANGER: Final = "https://login.example.com"
"""The foreign issuer."""


def subjects_of(valid: str, expired: str) -> dict[Subject, str]:
    """Return the token for each subject."""
    claims = claims_of(valid) or {}
    return {
        Subject.NONE: "",
        Subject.VALID: valid,
        Subject.EXPIRED: expired,
        Subject.UNSIGNED: encode(claims),
        Subject.TRUNCATED: truncated(valid),
        Subject.FOREIGN: signed_by_a_stranger({**claims, "iss": STRANGER}),
    }


def truncated(token: str) -> str:
    """Return ``token`` with the first half of its signature, as something on the way might cut it off."""
    head, dot, signature = token.rpartition(".")
    return f"{head}{dot}{signature[: len(signature) // 2]}"
