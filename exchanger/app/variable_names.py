"""Finds environment variables that are set without effect: misspelled names, and known names with an empty value. Never reports values."""

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from difflib import get_close_matches
from typing import Final

from exchanger.model.notice import Notice
from exchanger.util.text import closest, printable

# Prefixes of names meant for this service. LOG_, OTEL_ and KUBE_ are used by whole platforms: only near misses of these are reported.
PREFIXES: Final = (
    *("TOKEN_EXCHANGE_", "TOKEN_ENDPOINT_", "TOKEN_CACHE_", "POLICY_", "GRPC_", "HTTP_AUTHZ_"),
    *("METRICS_", "CONSOLE_", "CONFIGMAP_", "AUDIT_"),
)
# Unknown names listed one by one.
MAX_UNKNOWN: Final = 20
# Characters of a reported name.
NAME_LIMIT: Final = 128
_WORDS: Final = 3
# Similarity, in difflib's measure, from which a known name is suggested.
_ALIKE: Final = 0.75

# Kubernetes sets these in every pod for each Service of its namespace, so a Service called ``grpc`` or ``metrics`` looks like ours
# (https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables).
OF_A_SERVICE: Final = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.ASCII)
# Read by gRPC's own libraries, and set for every program by some platforms (https://github.com/grpc/grpc/blob/master/doc/environment_variables.md).
OF_GRPC: Final = re.compile(
    r"GRPC_(GO_\w+|XDS_\w+|EXPERIMENTAL_\w+|EXPERIMENTS|DEFAULT_SSL_ROOTS_FILE_PATH|SSL_CIPHER_SUITES|VERBOSITY|STACKTRACE_MINLOGLEVEL|TRACE"
    r"|TRACE_FUZZER|DNS_RESOLVER|POLL_STRATEGY|ENABLE_FORK_SUPPORT|PROXY_EXP|ARES_QUERY_TIMEOUT|CFSTREAM|PYTHON_\w+)",
    re.ASCII,
)
ADDRESS_OF_A_SERVICE: Final = re.compile(r"(tcp|udp|sctp)://.*", re.DOTALL)

# Variables without effect, each with the reason.
Notes = tuple[tuple[str, str], ...]


def variable_notices(variables: Mapping[str, str], known: AbstractSet[str]) -> tuple[Notice, ...]:
    """Return notices for those ``variables`` that are set without effect."""
    return as_notices((*empty_variables(variables, known), *unknown_variables(variables, known)))


def as_notices(notes: Notes) -> tuple[Notice, ...]:
    """Return notes on variables as notices."""
    return tuple(Notice(f"variable {name}", f"has no effect: {text}", "see the configuration reference") for name, text in notes)


def empty_variables(variables: Mapping[str, str], known: AbstractSet[str]) -> Notes:
    """Return the ``known`` names that are set to nothing."""
    blank = sorted(name for name in known if name in variables and not variables[name].strip())
    return tuple((name, "it is empty, so the default applies") for name in blank)


def unknown_variables(variables: Mapping[str, str], known: AbstractSet[str]) -> Notes:
    """Return the names that are not ``known`` but look meant for this service.

    A name looks meant for it if it has one of our prefixes or is a near miss of a known name. Names derived from Services do not count.
    """
    ordered = sorted(known)
    found: list[tuple[str, str]] = []
    more = 0
    for name in sorted(variables.keys() - known):
        if _is_of_others(name, variables[name]):
            continue
        folded = name.strip().upper().replace("-", "_").replace(".", "_")
        meant = closest(folded, ordered)
        if meant is None and not folded.startswith(PREFIXES):
            continue
        if len(found) < MAX_UNKNOWN:
            alike = get_close_matches(folded[:NAME_LIMIT], ordered, 1, _ALIKE)
            meant = _with_all_words(folded, ordered) or meant or next(iter(alike), None)
            hint = "" if meant is None else f"; did you mean {meant}?"
            found.append((printable(name, NAME_LIMIT), f"there is no such variable{hint}"))
        else:
            more += 1
    if more:
        found.append((f"{more} more", "there are no such variables"))
    return tuple(found)


def _with_all_words(name: str, known: Sequence[str]) -> str | None:
    """Return the shortest known name that has all words of ``name``; fewer than three say little."""
    words = set(name.split("_"))
    found = [candidate for candidate in known if words <= set(candidate.split("_"))]
    return min(found, key=len, default=None) if len(words) >= _WORDS else None


def _is_of_others(name: str, value: str) -> bool:
    if OF_A_SERVICE.fullmatch(name) is not None or OF_GRPC.fullmatch(name) is not None:
        return True
    return name.endswith("_PORT") and ADDRESS_OF_A_SERVICE.fullmatch(value) is not None
