"""What gateways that ask over HTTP cannot do, and the profiles that need it.

See ``docs/reference/http-authorization.md``. Envoy's HTTP service removes headers, so only what is true of every form concerns it.
"""

from collections.abc import Iterator
from typing import Final

from exchanger.commands.check.options import HttpGateway
from exchanger.exchange.issuers.profile_model import Plan
from exchanger.exchange.issuers.value_sources import Reference
from exchanger.model.issuer import Issuer

# How each gateway is told to remove a header; Traefik does so with those that it is to copy from the answer.
_REMOVED_BY: Final = {
    HttpGateway.NGINX: 'proxy_set_header {} "";',
    HttpGateway.TRAEFIK: "name {} in authResponseHeaders",
    HttpGateway.CADDY: "request_header -{}",
}


def unfit_profiles(plan: Plan, gateway: HttpGateway) -> tuple[str, ...]:
    """Return what is wrong with each profile of ``plan`` behind ``gateway``."""
    return tuple(problem for profile in plan.profiles for problem in _unfit(profile, gateway))


def _unfit(profile: Issuer[Reference], gateway: HttpGateway) -> Iterator[str]:
    where = f'issuer profile "{profile.name}"'
    if removed := profile.subject.removed:
        how = "; ".join(_REMOVED_BY[gateway].format(name) for name in removed)
        names = ", ".join(removed)
        yield f"{where} subjectToken.from lists {names}, which {gateway.value} passes on unless its configuration removes it ({how})"
    if profile.cache is not None and profile.cache.evict_rejected:
        yield f"{where} cache.evictRejected has no effect behind {gateway.value}: the service sees no responses"
