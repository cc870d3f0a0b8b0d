"""How the addresses of an issuer are reached: by which proxy, in which protocol, whom to trust there, and the client's certificate."""

import attrs

from exchanger.net.endpoint import Endpoint, EndpointProblem, read_endpoint
from exchanger.oauth.settings import TokenClientSettings
from exchanger.values.issuer import ClientCertificate, Issuer


def resolve_endpoint(url: str, issuer: Issuer, settings: TokenClientSettings, *, as_client: bool) -> Endpoint | EndpointProblem:
    """Return the endpoint at ``url``. The way there is by the issuer's own proxy, else the environment's, else none.

    ``as_client``: it may see the client's certificate, if there is one.
    """
    found = read_endpoint(url, allow_http=settings.allow_http)
    if isinstance(found, EndpointProblem):
        return found
    origin, proxy, proof = found.origin, issuer.proxy, issuer.credentials.proof
    if proxy is None:
        proxy = settings.proxies.proxy_for(origin.host, origin.port, secure=origin.secure)
    certificate = proof if as_client and isinstance(proof, ClientCertificate) else None
    origin = attrs.evolve(origin, proxy=proxy, protocol=issuer.protocol, ca_pem=issuer.ca_pem, certificate=certificate)
    return Endpoint(origin, found.authority, found.target, settings.connection_reuse)
