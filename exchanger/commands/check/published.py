"""What issuers of assertions publish about themselves, compared with the profiles that ask them: fetched as the service fetches it.

Only profiles that another one's ``assertion.from`` names are looked at, and only those with ``discovery``.
"""

from pathlib import Path
from typing import Final, final

import attrs
import trio

from exchanger.exchange.issuers.profile_model import Plan
from exchanger.exchange.issuers.profiles import read_bytes
from exchanger.exchange.issuers.value_sources import FileSet, Reference
from exchanger.exchange.oauth.documents import Documents
from exchanger.exchange.oauth.metadata import NoMetadata, fetch_published
from exchanger.exchange.oauth.settings import TokenClientSettings
from exchanger.exchange.pipeline import connection_limits
from exchanger.model.issuer import Credentials, Issuer
from exchanger.net.pool import Connections
from exchanger.net.reactor import Reactor
from exchanger.net.tls.client import client_tls_context
from exchanger.net.tls.client_contexts import TlsContexts
from exchanger.util.text import quoted

# The types of tokens that an issuer issues for other domains (draft-ietf-oauth-identity-chaining, section 2.5; optional).
SUPPORTED: Final = "identity_chaining_requested_token_types_supported"
# Seconds for all issuers together: an author waits, and what is not known is no problem.
_PATIENCE_S: Final = 5.0


@final
@attrs.frozen
class Compared:
    """``problems`` are about profiles; ``unknown`` says why others were not compared."""

    problems: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def compare_published(plan: Plan) -> Compared:
    """Ask the issuers of assertions in ``plan`` what they issue."""
    by_name = {profile.name: profile for profile in plan.profiles}
    asked = {(source.profile, source.token_type): profile.name for profile in plan.profiles if (source := profile.assertion) is not None}
    first = {name: by_name[name] for name, _ in asked if by_name[name].discovery}
    found = trio.run(_published, first) if first else {}
    problems, unknown = [], []
    for (name, token_type), asking in asked.items():
        supported = found.get(name)
        if isinstance(supported, NoMetadata):
            unknown.append(f"what the issuer {quoted(name)} issues was not compared with assertion: {supported.why}")
        elif supported is not None and token_type not in supported:
            problems.append(
                f'issuer profile "{asking}" assertion.requestedTokenType is {token_type}, which the issuer {quoted(name)} does not list in '
                f"{SUPPORTED}"
            )
    return Compared(tuple(problems), tuple(dict.fromkeys(unknown)))


async def _published(issuers: dict[str, Issuer[Reference]]) -> dict[str, frozenset[str] | NoMetadata | None]:
    """Return what each issuer lists, ``None`` if it has no list."""
    found: dict[str, frozenset[str] | NoMetadata | None] = dict.fromkeys(issuers, NoMetadata("it did not answer in time"))
    settings, reactor = TokenClientSettings(allow_http=True), Reactor()
    connections = Connections(connection_limits(settings), reactor, TlsContexts(client_tls_context))
    documents = Documents(settings, connections)

    async def ask(name: str, issuer: Issuer[Reference]) -> None:
        fetched = await fetch_published(documents, issuer.discovery, _as_asked(issuer))
        found[name] = fetched if isinstance(fetched, NoMetadata) else _listed(fetched.members.get(SUPPORTED))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        await nursery.start(connections.run)
        with trio.move_on_after(_PATIENCE_S):
            async with trio.open_nursery() as asking:
                for name, issuer in issuers.items():
                    asking.start_soon(ask, name, issuer)
        nursery.cancel_scope.cancel()
    reactor.turn(connections.close)
    reactor.close()
    return found


def _listed(value: object) -> frozenset[str] | None:
    return frozenset(item for item in value if isinstance(item, str)) if isinstance(value, list) else None


def _as_asked(issuer: Issuer[Reference]) -> Issuer:
    """Return the parts of ``issuer`` with which its metadata is fetched: no credentials, and the CA file if it is on this machine."""
    authorities = None
    if isinstance(issuer.ca_pem, Reference) and isinstance(issuer.ca_pem.place, FileSet):
        path = Path(issuer.ca_pem.place.paths[0])
        data = read_bytes(path) if path.is_file() else ""
        authorities = data.decode("utf-8", "replace") if isinstance(data, bytes) else None
    return Issuer(
        issuer.name,
        "",
        issuer.endpoint_host,
        issuer.auth_method,
        Credentials("", None),
        proxy=issuer.proxy,
        protocol=issuer.protocol,
        discovery=issuer.discovery,
        ca_pem=authorities,
    )
