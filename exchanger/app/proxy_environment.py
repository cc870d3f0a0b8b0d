"""Reads the platform's proxy variables for token endpoints, and finds those without effect.

They are read apart from the service's own variables: a platform sets them for every program, so empty or similar names are not mistakes.
"""

from collections.abc import Mapping
from typing import Final, final

import attrs

from exchanger.app.environment import Environment
from exchanger.app.variable_names import Notes
from exchanger.model.proxy import Proxy, ProxyProblem, read_proxy
from exchanger.net.proxies import EnvironmentProxies, NoProxy

SWITCH: Final = "TOKEN_ENDPOINT_PROXY_FROM_ENVIRONMENT"


@final
@attrs.frozen
class ProxyReading:
    """The proxies, and the variables without effect."""

    proxies: EnvironmentProxies = attrs.field(factory=EnvironmentProxies)
    notes: Notes = ()


def read_proxies(environment: Environment, variables: Mapping[str, str], *, allow_http: bool) -> ProxyReading:
    """Read the proxies if the switch is on. An unusable URL becomes a problem of ``environment``, which does not repeat the URL.

    The upper-case name takes precedence over the lower-case one (https://pkg.go.dev/golang.org/x/net/http/httpproxy#FromEnvironment).
    ``allow_http``: there may be http endpoints, for which HTTP_PROXY counts.
    """
    on = environment.boolean(SWITCH, default=False)
    relevant = ("HTTPS_PROXY", *(("HTTP_PROXY",) if allow_http else ()))
    if not on:
        reason = f"token endpoints are reached directly; set {SWITCH}=true, or proxy in an issuer profile"
        notes = ((name, reason) for name in _set(variables, *relevant, "NO_PROXY"))
        return ProxyReading(notes=(*notes, *_never_used(variables)))
    found = {name: _proxy(environment, variables, name) for name in relevant}
    proxies = EnvironmentProxies(found["HTTPS_PROXY"], found.get("HTTP_PROXY"), NoProxy.of(_first(variables, "NO_PROXY")[1]))
    return ProxyReading(proxies, (*_idle(variables, relevant), *_never_used(variables)))


def _proxy(environment: Environment, variables: Mapping[str, str], name: str) -> Proxy | None:
    name, text = _first(variables, name)
    if not text:
        return None
    # A bare host and port means a proxy without TLS, as in other programs.
    found = read_proxy(text if "://" in text else f"http://{text}")
    if isinstance(found, ProxyProblem):
        environment.problem(f"{name} {found.reason}")
        return None
    return found


def _idle(variables: Mapping[str, str], relevant: tuple[str, ...]) -> Notes:
    if not _set(variables, *relevant):
        names = " or ".join(relevant)
        return ((SWITCH, f"{names} is not set"), *((name, f"{names} is not set") for name in _set(variables, "NO_PROXY")))
    pairs = [_set(variables, name) for name in (*relevant, "NO_PROXY")]
    return tuple(
        (pair[1], f"{pair[0]} is set to another value and takes precedence")
        for pair in pairs
        if len(pair) > 1 and variables[pair[0]].strip() != variables[pair[1]].strip()
    )


def _never_used(variables: Mapping[str, str]) -> Notes:
    return tuple((name, "it is not read; use HTTPS_PROXY for token endpoints") for name in _set(variables, "ALL_PROXY"))


def _first(variables: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return the spelling of ``name`` that takes precedence, and its value or ""."""
    found = _set(variables, name)
    return (found[0], variables[found[0]].strip()) if found else (name, "")


def _set(variables: Mapping[str, str], *names: str) -> tuple[str, ...]:
    """Return those of ``names``, upper or lower case, that are not blank."""
    spellings = [spelling for name in names for spelling in (name, name.lower())]
    return tuple(spelling for spelling in spellings if variables.get(spelling, "").strip())
