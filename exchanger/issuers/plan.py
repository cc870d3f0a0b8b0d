"""Profiles as they are written, checked against the rules. A plan is valid in itself and lacks only what is in Secrets. Pure.

Must not know: files, clocks, or what Secrets hold.
"""

from typing import Final, final

import attrs

from exchanger.issuers.client_plan import NONE, PlannedCertificate, PlannedClient, path_problems, plan_client
from exchanger.issuers.exchange_plan import PlannedActor, PlannedGrant, plan_grant, plan_subject
from exchanger.issuers.profile_model import IssuerProfile
from exchanger.issuers.rules import EndpointCheck, EndpointProblem, ProfileRules
from exchanger.issuers.value_sources import Reference, Shape, ValueSource, in_files
from exchanger.values.issuer import ActorCredentials, CachePolicy, CallLimits, EndpointProtocol, ErrorStyle, SubjectRules
from exchanger.values.proxy import Proxy, ProxyProblem, read_proxy

# Secrets and files that one file may refer to: each is read by itself, all the time.
MAX_PLACES: Final = 256

PROTOCOLS: Final = tuple(protocol.value for protocol in EndpointProtocol)
ERROR_STYLES: Final = tuple(style.value for style in ErrorStyle)


@final
@attrs.frozen
class UnresolvedProfile:
    """A valid profile, with its values or where to find them."""

    name: str
    token_endpoint: str
    endpoint_host: str
    bearer_realm: str
    client: PlannedClient
    proxy: Proxy | None = None
    protocol: EndpointProtocol = EndpointProtocol.AUTO
    cache: CachePolicy | None = None
    limits: CallLimits = attrs.field(factory=CallLimits)
    discovery: str = ""
    authorities: Reference | None = None
    grant: PlannedGrant = attrs.field(factory=PlannedGrant)
    subject: SubjectRules = attrs.field(factory=SubjectRules)
    errors: ErrorStyle = ErrorStyle.REFERENCE

    @property
    def references(self) -> tuple[Reference, ...]:
        """Where its values are that are not in the file."""
        actor = self.grant.actor
        return (
            *self.client.references,
            *(() if self.authorities is None else (self.authorities,)),
            *((actor.file,) if isinstance(actor, PlannedActor) else ()),
        )


@final
@attrs.frozen
class Plan:
    """A valid version of a file."""

    profiles: tuple[UnresolvedProfile, ...] = ()

    @property
    def places(self) -> frozenset[ValueSource]:
        """The Secrets and files that it refers to."""
        return frozenset(reference.place for profile in self.profiles for reference in profile.references)


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
    if len(plan.places) > MAX_PLACES:
        problems.append(f"issuer profiles refer to more than {MAX_PLACES} Secrets and files")
    return Rejected(tuple(problems)) if problems else plan


def _unresolved(profile: IssuerProfile, rules: ProfileRules, check_endpoint: EndpointCheck) -> UnresolvedProfile | tuple[str, ...]:
    problems = [] if profile.name else ["needs a name"]
    host = _host(profile, check_endpoint, problems)
    protocol = profile.token_endpoint_protocol or EndpointProtocol.AUTO.value
    if protocol not in PROTOCOLS:
        problems.append(f"tokenEndpointProtocol must be one of {', '.join(PROTOCOLS)}")
    errors = profile.errors or ErrorStyle.REFERENCE.value
    if errors not in ERROR_STYLES:
        problems.append(f"errors must be one of {', '.join(ERROR_STYLES)}")
    client = plan_client(profile, rules, problems)
    if isinstance(client.proof, PlannedCertificate) and (profile.token_endpoint or profile.discovery)[:6].lower() != "https:":
        problems.append("clientCertificate needs a token endpoint with https")
    proxy = None if profile.proxy is None else read_proxy(profile.proxy.reveal().strip())
    if isinstance(proxy, ProxyProblem):
        problems.append(f"proxy {proxy.reason}")
        proxy = None
    if profile.ca_file:
        problems += path_problems("caFile", profile.ca_file)
    grant = plan_grant(profile, problems)
    # RFC 6749 section 4.4 (https://www.rfc-editor.org/rfc/rfc6749#section-4.4): for confidential clients alone.
    if isinstance(grant.actor, ActorCredentials) and profile.token_endpoint_auth_method == NONE:
        problems.append(f"actorToken.clientCredentials needs a client that authenticates, and tokenEndpointAuthMethod is {NONE}")
    subject = plan_subject(profile.subject_token, check_endpoint, problems)
    if problems:
        return tuple(problems)
    return UnresolvedProfile(
        name=profile.name,
        token_endpoint=profile.token_endpoint,
        endpoint_host=host,
        bearer_realm=profile.bearer_realm,
        client=client,
        proxy=proxy,
        protocol=EndpointProtocol(protocol),
        cache=profile.cache,
        limits=profile.limits or CallLimits(),
        discovery=profile.discovery,
        authorities=in_files("caFile", Shape.AUTHORITIES, profile.ca_file) if profile.ca_file else None,
        grant=grant,
        subject=subject,
        errors=ErrorStyle(errors),
    )


def _host(profile: IssuerProfile, check_endpoint: EndpointCheck, problems: list[str]) -> str:
    """Return the host of the token endpoint, or of the issuer that will say where that is."""
    if profile.token_endpoint and profile.discovery:
        problems.append("has tokenEndpoint and discovery; give one of them")
    field, address = ("discovery", profile.discovery) if profile.discovery else ("tokenEndpoint", profile.token_endpoint)
    if not address:
        problems.append("needs a tokenEndpoint or discovery")
        return ""
    match check_endpoint(address):
        case EndpointProblem(reason):
            problems.append(f"{field} {reason}")
        case host:
            # An issuer has no query (RFC 8414 section 2): there would be no place for the well-known path.
            if profile.discovery and "?" in address:
                problems.append("discovery must not have a query")
            # Where the metadata are is a usual slip; nothing there could name this as the issuer.
            if profile.discovery and "/.well-known/" in address:
                problems.append("discovery must be the issuer's own URL, without /.well-known/ and what follows")
            return host
    return ""
