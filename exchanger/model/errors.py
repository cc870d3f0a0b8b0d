"""Faults of the process, and the stable TXE diagnostic codes that operators grep for.

A code never changes its meaning and is never derived from a file name or line; new ones are allocated here.
"""

import enum


class ExchangerError(Exception):
    """Base of the faults that this program raises on purpose."""


class ConfigurationError(ExchangerError):
    """The environment or a file named by it cannot be used; ``problems`` has one readable line each, secrets left out."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@enum.unique
class Diagnostic(enum.Enum):
    """Diagnostic codes of a failed token exchange; the value is the code. docs/reference/answers.md says what to do about each."""

    INVALID_TOKEN_ENDPOINT = "TXE-1001"
    CREATE_REQUEST = "TXE-1002"
    REQUEST_FAILED = "TXE-1003"
    READ_RESPONSE = "TXE-1004"
    UNKNOWN_ISSUER = "TXE-1005"
    BREAKER_OPEN = "TXE-1006"
    OVERLOADED = "TXE-1007"
    METADATA_UNKNOWN = "TXE-1008"
    NO_ACTOR_TOKEN = "TXE-1009"
    OAUTH_ERROR = "TXE-2001"
    UNRECOGNISED_400 = "TXE-2002"
    UNRECOGNISED_401 = "TXE-2003"
    UNRECOGNISED_403 = "TXE-2004"
    UNRECOGNISED_OTHER = "TXE-2005"
    APP_ONLY_CALLER = "TXE-2006"
    ASSERTION_REFUSED = "TXE-2007"
    MALFORMED_JSON = "TXE-3001"
    MISSING_ACCESS_TOKEN = "TXE-3002"
    NOT_BEARER = "TXE-3003"
    WRONG_ISSUED_TOKEN_TYPE = "TXE-3004"
    UNUSABLE_ACCESS_TOKEN = "TXE-3005"
    ISSUED_FOR_OTHERS = "TXE-3006"
    ISSUED_BEYOND_REQUEST = "TXE-3007"
    ISSUED_UNVERIFIED = "TXE-3008"
    SUBJECT_REJECTED = "TXE-4001"
    KEYS_UNKNOWN = "TXE-4002"
    SUBJECT_INACTIVE = "TXE-4003"
    INTROSPECTION_UNAVAILABLE = "TXE-4004"
    AUDIT_UNAVAILABLE = "TXE-5001"


def leaves(fault: BaseException) -> list[BaseException]:
    """Return the exceptions in ``fault``, in order, however they are nested."""
    if isinstance(fault, BaseExceptionGroup):
        return [leaf for member in fault.exceptions for leaf in leaves(member)]
    return [fault]
