"""How the addresses of an issuer are reached: by which proxy, in which protocol, whom to trust there, and the client's certificate."""

import attrs

from exchanger.exchange.oauth.settings import TokenClientSettings
from exchanger.model.issuer import ClientCertificate, EndpointProtocol, Issuer
from exchanger.net.dial import Origin
from exchanger.net.endpoint import Endpoint, EndpointProblem, read_endpoint


def resolve_endpoint(url: str, issuer: Issuer, settings: TokenClientSettings, *, as_client: bool) -> Endpoint | EndpointProblem:
    """Return the endpoint at ``url``. The way there is by the issuer's own proxy, else the environment's, else none.

    ``as_client``: it may see the client's certificate, if there is one. Otherwise it may be somebody else's server, of which the profile
    does not know that it speaks HTTP/2 without being asked.
    """
    found = read_endpoint(url, allow_http=settings.allow_http)
    if isinstance(found, EndpointProblem):
        return found
    origin, proxy, proof = found.origin, issuer.proxy, issuer.credentials.proof
    if proxy is None:
        proxy = settings.proxies.proxy_for(origin.host, origin.port, secure=origin.secure)
    certificate = proof if as_client and isinstance(proof, ClientCertificate) else None
    protocol = issuer.protocol
    if not as_client and protocol is EndpointProtocol.HTTP2 and not _is_at(issuer.address, origin):
        protocol = EndpointProtocol.AUTO
    origin = attrs.evolve(origin, proxy=proxy, protocol=protocol, ca_pem=issuer.ca_pem, certificate=certificate)
    return Endpoint(origin, found.authority, found.target, settings.connection_reuse)


def _is_at(url: str, origin: Origin) -> bool:
    """Return whether ``url`` is on the server of ``origin``."""
    found = read_endpoint(url, allow_http=True)
    return not isinstance(found, EndpointProblem) and (found.origin.host, found.origin.port) == (origin.host, origin.port)
