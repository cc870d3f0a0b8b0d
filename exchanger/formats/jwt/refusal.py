"""Why a caller's token is not accepted: a closed set of sentences for operators, none of which quotes the token."""

import enum
from typing import final

import attrs


@enum.unique
class TokenRefusalReason(enum.StrEnum):
    """The problem of a token; each follows "the token"."""

    TOO_LONG = "is too long"
    NOT_COMPACT = "is not a signed JWT in compact form"
    HEADER = "has a header that is not a JSON object with unique names"
    CLAIMS = "has claims that are not a JSON object with unique names"
    EXTENSIONS = "needs extensions that are not supported"
    TYPE = "is of another type than an access token"
    ALGORITHM = "is signed by an algorithm that is not accepted"
    KEY_ID = "has a key id that is not a string"
    NO_ISSUER = "has no issuer"
    ISSUER = "is from an issuer that is not accepted"
    SIGNATURE = "has a signature that none of its issuer's keys verifies"
    AUDIENCES = "has an audience that is neither a string nor a list of strings"
    AUDIENCE = "is for another audience"
    NO_EXPIRY = "does not say when it expires"
    TIMES = "has a time that is not a number"
    EXPIRED = "has expired"
    NOT_YET = "is not valid yet"
    ISSUED_LATER = "was issued in the future"
    CONFIRMATION = "is bound to its sender's key, which an exchange cannot preserve"
    MAY_ACT = "restricts who may act for its subject, and no actor is configured"
    ACTORS = "has a chain of actors that is malformed or too long"


@final
@attrs.frozen
class TokenRefused:
    """The token is not taken."""

    reason: TokenRefusalReason
