"""Profiles as they are written, checked against the rules. A plan is valid in itself and lacks only what is in Secrets. Pure.

Must not know: files, clocks, or what Secrets hold.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final, final

import attrs

from exchanger.issuers.profiles import IssuerProfile, SecretKeyRef
from exchanger.issuers.secrets import SecretName
from exchanger.values.issuer import AuthMethod, CachePolicy, CallLimits, EndpointProtocol
from exchanger.values.proxy import Proxy, ProxyProblem, read_proxy
from exchanger.values.secret import Secret

# Secrets that one file may refer to: each is read by itself, all the time.
MAX_SECRETS: Final = 256

# Names become part of a request path, so they follow the API server's own rules:
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and, for keys, the reference of a Secret's data.
_SUBDOMAIN: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_KEY: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")

_METHODS: Final = tuple(method.value for method in AuthMethod)
_PROTOCOLS: Final = tuple(protocol.value for protocol in EndpointProtocol)


@final
@attrs.frozen
class EndpointProblem:
    """Why the address of a token endpoint is not usable, in words that follow its name; the address is not repeated."""

    reason: str


# Takes the address of a token endpoint and returns its host, as metrics name it, or why it cannot be used.
EndpointCheck = Callable[[str], str | EndpointProblem]


@final
@attrs.frozen
class ProfileRules:
    """Defaults for profiles: the authentication method, and the namespace of references ("": none).

    ``with_secrets``: there is an API server to resolve references.
    """

    auth_method: AuthMethod = AuthMethod.CLIENT_SECRET_BASIC
    namespace: str = ""
    with_secrets: bool = False


@final
@attrs.frozen
class SecretKey:
    """One key of a Secret; ``field`` is the profile's field that refers to it."""

    secret: SecretName
    key: str
    field: str


@final
@attrs.frozen
class UnresolvedProfile:
    """A valid profile, with its credentials or where to find them."""

    name: str
    token_endpoint: str
    endpoint_host: str
    auth_method: AuthMethod
    bearer_realm: str
    client_id: str | SecretKey
    client_secret: Secret | SecretKey
    proxy: Proxy | None = None
    protocol: EndpointProtocol = EndpointProtocol.AUTO
    cache: CachePolicy | None = None
    limits: CallLimits = attrs.field(factory=CallLimits)

    @property
    def references(self) -> tuple[SecretKey, ...]:
        """Where its credentials are in Secrets."""
        return tuple(part for part in (self.client_id, self.client_secret) if isinstance(part, SecretKey))


@final
@attrs.frozen
class Plan:
    """A valid version of a file."""

    profiles: tuple[UnresolvedProfile, ...] = ()

    @property
    def secrets(self) -> frozenset[SecretName]:
        """The Secrets that it refers to."""
        return frozenset(reference.secret for profile in self.profiles for reference in profile.references)


@final
@attrs.frozen
class Rejected:
    """A version of a file that cannot be used; ``problems`` has a readable line each, without values."""

    problems: tuple[str, ...]


def plan_profiles(profiles: tuple[IssuerProfile, ...], rules: ProfileRules, check_endpoint: EndpointCheck) -> Plan | Rejected:
    """Return the plan for ``profiles``, or everything that is wrong with them."""
    planned: list[UnresolvedProfile] = []
    problems: list[str] = []
    names: set[str] = set()
    for profile in profiles:
        found = _unresolved(profile, rules, check_endpoint)
        wrong = () if isinstance(found, UnresolvedProfile) else found
        if profile.name and profile.name in names:
            wrong = (*wrong, "is defined twice")
        names.add(profile.name)
        problems += [f'issuer profile "{profile.name}" {problem}' for problem in wrong]
        if isinstance(found, UnresolvedProfile):
            planned.append(found)
    plan = Plan(tuple(planned))
    if len(plan.secrets) > MAX_SECRETS:
        problems.append(f"issuer profiles refer to more than {MAX_SECRETS} Secrets")
    return Rejected(tuple(problems)) if problems else plan


def _unresolved(profile: IssuerProfile, rules: ProfileRules, check_endpoint: EndpointCheck) -> UnresolvedProfile | tuple[str, ...]:
    problems = [] if profile.name else ["needs a name"]
    host = ""
    if profile.token_endpoint:
        match check_endpoint(profile.token_endpoint):
            case EndpointProblem(reason):
                problems.append(f"tokenEndpoint {reason}")
            case found:
                host = found
    else:
        problems.append("needs a tokenEndpoint")
    method = profile.token_endpoint_auth_method or rules.auth_method.value
    if method not in _METHODS:
        problems.append(f"tokenEndpointAuthMethod must be one of {', '.join(_METHODS)}")
    protocol = profile.token_endpoint_protocol or EndpointProtocol.AUTO.value
    if protocol not in _PROTOCOLS:
        problems.append(f"tokenEndpointProtocol must be one of {', '.join(_PROTOCOLS)}")
    client_id, client_secret = Secret(profile.client_id), profile.client_secret
    id_key = _located("clientID", client_id, profile.client_id_secret_ref, rules, problems)
    secret_key = _located("clientSecret", client_secret, profile.client_secret_secret_ref, rules, problems)
    proxy = None if profile.proxy is None else read_proxy(profile.proxy.reveal().strip())
    if isinstance(proxy, ProxyProblem):
        problems.append(f"proxy {proxy.reason}")
        proxy = None
    if problems:
        return tuple(problems)
    return UnresolvedProfile(
        name=profile.name,
        token_endpoint=profile.token_endpoint,
        endpoint_host=host,
        auth_method=AuthMethod(method),
        bearer_realm=profile.bearer_realm,
        client_id=profile.client_id if id_key is None else id_key,
        client_secret=client_secret if secret_key is None else secret_key,
        proxy=proxy,
        protocol=EndpointProtocol(protocol),
        cache=profile.cache,
        limits=profile.limits or CallLimits(),
    )


def _located(field: str, value: Secret, reference: SecretKeyRef | None, rules: ProfileRules, problems: list[str]) -> SecretKey | None:
    """Return where the value of ``field`` is in a Secret, ``None`` if the file has it. Problems are added to ``problems``."""
    if reference is None:
        if not value.reveal():
            problems.append(f"needs {field} or {field}SecretRef")
        return None
    key = SecretKey(SecretName(reference.namespace or rules.namespace, reference.name), reference.key, f"{field}SecretRef")
    problems.extend(f"{field}{problem}" for problem in _reference_problems(key, given=bool(value.reveal()), rules=rules))
    return key


def _reference_problems(key: SecretKey, *, given: bool, rules: ProfileRules) -> Iterator[str]:
    if given:
        yield f" and {key.field} are both given"
    if not rules.with_secrets:
        yield "SecretRef can only be resolved with POLICY_SOURCE=kubernetes"
    elif not key.secret.namespace:
        yield "SecretRef needs a namespace, since POD_NAMESPACE is not set"
    elif not _LABEL.fullmatch(key.secret.namespace):
        yield "SecretRef has a namespace that is no name of one"
    if not _SUBDOMAIN.fullmatch(key.secret.name):
        yield "SecretRef has a name that no Secret can have"
    if not _KEY.fullmatch(key.key):
        yield "SecretRef has a key that no Secret can have"
