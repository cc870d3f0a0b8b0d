"""What issuers publish about themselves: where their token endpoint and their keys are. Followed, and never forgotten because of a failure.

An issuer is believed only if its metadata name it exactly (RFC 8414 section 3.3): an endpoint that answers for another name could divert
secrets.

Sources: RFC 8414 (https://www.rfc-editor.org/rfc/rfc8414#section-3), OpenID Connect Discovery 1.0 section 4, RFC 8705 section 5.
"""

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Final, NoReturn, final
from urllib.parse import urlsplit

import attrs
import structlog
import trio

from exchanger.exchange.oauth.documents import Documents, Fetched, NotFetched
from exchanger.model.issuer import ClientCertificate, Issuer
from exchanger.model.text import ISSUER_LIMIT
from exchanger.util.backoff import BackOff, BackOffSettings
from exchanger.util.text import printable

# Seconds between two fetches, before a random tenth is subtracted. Endpoints and keys seldom change; a day would be too long for a
# removed key.
REFRESH_S: Final = 3600.0
# An issuer that cannot be reached is asked again after some 0.4 to 60 seconds.
RETRIES: Final = BackOffSettings(first=0.4)
# Characters of an address.
_MAX_ADDRESS: Final = 2048


@final
@attrs.frozen
class IssuerMetadata:
    """The token endpoint, the address of the keys, and the introspection endpoint; "" if missing.

    The endpoints of clients with a certificate are those of RFC 8705 section 5. All are the issuer's own text, hidden from ``repr``.
    """

    token_endpoint: str = attrs.field(repr=False)
    jwks_uri: str = attrs.field(repr=False)
    introspection_endpoint: str = attrs.field(default="", repr=False)


@final
@attrs.frozen
class NoMetadata:
    """There is no metadata; ``why`` is in words of our own."""

    why: str


_OF_ANOTHER: Final = NoMetadata("the metadata names another issuer")


async def fetch_metadata(documents: Documents, url: str, issuer: Issuer) -> IssuerMetadata | NoMetadata:
    """Return the metadata of the issuer ``url``, fetched with the CA file and proxy of ``issuer``."""
    found = await fetch_published(documents, url, issuer)
    if isinstance(found, NoMetadata):
        return found
    return read_metadata(found, url, certificate=isinstance(issuer.credentials.proof, ClientCertificate))


async def fetch_published(documents: Documents, url: str, issuer: Issuer) -> Fetched | NoMetadata:
    """Return the document with the metadata of the issuer ``url``, as ``fetch_metadata`` fetches it."""
    missing, wrong = NoMetadata("there is no metadata"), None
    for place in _places(url):
        found = await documents.fetch(place, issuer=issuer)
        if isinstance(found, NotFetched):
            missing = NoMetadata(found.why)
        elif found.members.get("issuer") == url:
            return found
        else:
            wrong = _OF_ANOTHER
    return wrong or missing  # a document with a mistake says more than a missing one


def _places(url: str) -> Iterator[str]:
    """Yield where metadata may be: OpenID Connect puts its name behind the issuer's path, and RFC 8414 section 3.1 before it."""
    try:
        parts = urlsplit(url)
    except ValueError:  # it normalises host names where ``read_endpoint`` does not
        return
    path = parts.path.rstrip("/")
    base = f"{parts.scheme}://{parts.netloc}"
    yield f"{base}{path}/.well-known/openid-configuration"
    yield f"{base}/.well-known/oauth-authorization-server{path}"


def read_metadata(found: Fetched, url: str, *, certificate: bool) -> IssuerMetadata | NoMetadata:
    """Return the content of the document, if it is that of the issuer ``url``.

    An https issuer has no http address, whatever is allowed to others: servers behind proxies often publish one by mistake.
    """
    members = found.members
    if members.get("issuer") != url:
        return _OF_ANOTHER
    secure = _has_tls(url)
    aliases = members.get("mtls_endpoint_aliases")
    places = (aliases, members) if certificate and isinstance(aliases, dict) else (members,)
    token, introspection = (
        next(filter(None, (_address(place, name, secure=secure) for place in places)), "")
        for name in ("token_endpoint", "introspection_endpoint")
    )
    return IssuerMetadata(token, _address(members, "jwks_uri", secure=secure), introspection)


def _address(members: Mapping[str, object], name: str, *, secure: bool) -> str:
    value = members.get(name)
    return value if isinstance(value, str) and len(value) <= _MAX_ADDRESS and (_has_tls(value) or not secure) else ""


def demanded_of(issuer: str) -> str:
    """Return in words what the addresses in the metadata of ``issuer`` must have, "" if nothing."""
    return " with https" if _has_tls(issuer) else ""


def _has_tls(url: str) -> bool:
    return url[:6].lower() == "https:"


@final
@attrs.define(eq=False)
class Metadata:
    """Follows the metadata of the active issuers that are found by discovery.

    Args:
        documents: Fetches documents.
        changed: Called when a token endpoint has become known, or another one.
        random: Spreads the requests.
    """

    documents: Documents
    changed: Callable[[], None]
    _random: Random
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    _issuers: dict[str, Issuer] = attrs.field(factory=dict, init=False)
    _known: dict[str, tuple[str, IssuerMetadata]] = attrs.field(factory=dict, init=False)
    _followed: dict[str, trio.CancelScope] = attrs.field(factory=dict, init=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)

    def token_endpoint(self, issuer: Issuer) -> str:
        """Return the address, "" while it is not known."""
        metadata = self._find(issuer)
        return "" if metadata is None else metadata.token_endpoint

    def introspection_endpoint(self, issuer: Issuer) -> str | None:
        """Return the address, "" if the issuer names none, and ``None`` while that is not known."""
        metadata = self._find(issuer)
        return None if metadata is None else metadata.introspection_endpoint

    def _find(self, issuer: Issuer) -> IssuerMetadata | None:
        discovery, metadata = self._known.get(issuer.name, ("", None))
        return metadata if discovery == issuer.discovery else None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self.use_issuers(self._issuers)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._followed.clear()

    def use_issuers(self, issuers: Mapping[str, Issuer]) -> None:
        """Take over the active issuers."""
        found = {name: issuer for name, issuer in issuers.items() if issuer.discovery}
        for name in list(self._known):
            if name not in found or self._known[name][0] != found[name].discovery:
                del self._known[name]
        for name in list(self._followed):
            if name not in found or _way(self._issuers[name]) != _way(found[name]):
                self._followed.pop(name).cancel()
        self._issuers = found
        if self._nursery is not None:
            for name in [name for name in found if name not in self._followed]:
                scope = self._followed[name] = trio.CancelScope()
                self._nursery.start_soon(self._follow, name, scope)

    async def _follow(self, name: str, scope: trio.CancelScope) -> None:
        with scope:
            await self._follow_one(name)

    async def _follow_one(self, name: str) -> NoReturn:
        back_off, told = BackOff(RETRIES, self._random), ""
        while True:
            discovery, found = await self._fetch(name)
            await trio.lowlevel.checkpoint_if_cancelled()  # another issuer, or way to it, may count since the answer came
            if isinstance(found, IssuerMetadata) and not found.token_endpoint:
                found = NoMetadata(f"the metadata names no token endpoint{demanded_of(discovery)}")
            if isinstance(found, IssuerMetadata):
                before = self._known.get(name)
                if before is None or told:
                    self._log.info("issuers.metadata_known", issuer=printable(name, ISSUER_LIMIT))
                told = ""
                if before != (discovery, found):
                    self._known[name] = discovery, found
                    self.changed()
                await trio.sleep(REFRESH_S * (1.0 - 0.1 * self._random.random()))
            else:
                if found.why != told:
                    told = found.why
                    self._log.error("issuers.metadata_failed", issuer=printable(name, ISSUER_LIMIT), reason=told)
                await trio.sleep(back_off.failed(trio.current_time()))

    async def _fetch(self, name: str) -> tuple[str, IssuerMetadata | NoMetadata]:
        # Apart, so that no issuer is held for the hours until the next time: its credentials may be revoked meanwhile.
        issuer = self._issuers[name]
        return issuer.discovery, await fetch_metadata(self.documents, issuer.discovery, issuer)


def _way(issuer: Issuer) -> tuple[object, ...]:
    """Return the values that determine whether metadata must be fetched again at once."""
    return issuer.discovery, issuer.proxy, issuer.ca_pem, isinstance(issuer.credentials.proof, ClientCertificate)
