"""The forms in which gateways state the request that they ask about, and in which each understands an answer. Pure.

The gateway's configuration chooses the dialect by the path that it asks. Nothing in a request does, so a client cannot choose how its
request is read.

Sources: https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/http/ext_authz/v3/ext_authz.proto (``http_service``),
https://doc.traefik.io/traefik/reference/routing-configuration/http/middlewares/forwardauth/,
https://caddyserver.com/docs/caddyfile/directives/forward_auth,
https://nginx.org/en/docs/http/ngx_http_auth_request_module.html
"""

import re
from collections.abc import Callable
from typing import Final, assert_never, final

import attrs

from exchanger.authz.decision.outcome import Allow, Deny, Outcome
from exchanger.authz.evaluation.fields import READ_FIELDS, http_request
from exchanger.model.request import NO_FIELDS, HeaderFields, HttpRequest
from exchanger.net.http.message import Headers, Request, Response

SECRET: Final = "x-exchanger-secret"
STATUS: Final = "X-Exchanger-Status"
REMOVE: Final = "x-envoy-auth-headers-to-remove"

_ENVOY: Final = "/envoy"
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_SERVER_ERROR: Final = 500

# A method (RFC 9110 section 5.6.2), a request target and an authority have no blanks and no control characters (RFC 9112 section 3.2), and
# only a target's bytes may be no UTF-8: those are for the policy to check.
_is_method: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII).fullmatch
_is_target: Final = re.compile(r"[^\x00-\x20\x7f]+").fullmatch
_is_authority: Final = re.compile(r"[^\x00-\x20\x7f\udc80-\udcff]+").fullmatch


def _raw(value: str) -> str:
    """Return a value that came as ISO 8859-1 as what its bytes are: UTF-8, with surrogates for the rest (PEP 383)."""
    return value if value.isascii() else value.encode("latin-1").decode("utf-8", "surrogateescape")


@final
@attrs.frozen
class ForwardedRequest:
    """The request line of the original request, as a gateway states it. The path has its query and is in the form of ``_raw``."""

    method: str
    host: str
    path: str = attrs.field(repr=False)


@final
@attrs.frozen
class GatewayDialect:
    """One way to ask: ``matches`` the target of a check request, reads the ``statement`` in it (``None`` if there is no clear one).

    ``stating`` are the fields that it reads, which are not the client's. ``status`` is the status that the gateway gets for a denial's own.
    ``tells_status``: where that may be another one, each denial says its own. ``names_removed``: the gateway removes the headers that an
    allow names.
    """

    matches: Callable[[str], bool]
    statement: Callable[[Request], ForwardedRequest | None]
    stating: frozenset[str]
    status: Callable[[int], int]
    tells_status: bool = False
    names_removed: bool = False


def read(dialect: GatewayDialect, check_request: Request, *, with_headers: bool) -> HttpRequest | None:
    """Return the request that ``check_request`` is about, ``None`` if it states not exactly one. ``with_headers``: with all fields."""
    stated = dialect.statement(check_request)
    if stated is None or not (_is_method(stated.method) and _is_authority(stated.host)):
        return None
    if not (_is_target(stated.path) or (stated.method == "CONNECT" and not stated.path)):  # which has no path
        return None
    fields: dict[str, str] = {}
    for name, value in check_request.headers:
        if name in READ_FIELDS and name != "host":  # which was stated
            text = value if value.isascii() else value.encode("latin-1").decode("utf-8", "replace")
            fields[name] = f"{fields[name]},{text}" if name in fields else text
    every = HeaderFields(tuple(_fields_of_client(dialect, check_request)), raw=True) if with_headers else NO_FIELDS
    return http_request(stated.method, stated.path, stated.host, fields, path_is_raw=True, every=every)


def _fields_of_client(dialect: GatewayDialect, check_request: Request) -> list[tuple[str, str]]:
    return [(name, _raw(value)) for name, value in check_request.headers if name not in dialect.stating and name not in {"host", SECRET}]


def answer(dialect: GatewayDialect, check_request: Request, outcome: Outcome) -> Response:
    """Return the response to ``check_request``.

    An allow has the exchanged token, or otherwise the caller's own Authorization byte for byte, since gateways copy that header in any
    case. A denial never has one.
    """
    match outcome:
        case Allow():
            return Response(200, (*_authorization(check_request, outcome), *_removed(dialect, outcome), ("Cache-Control", "no-store")))
        case Deny():
            status = dialect.status(outcome.status)
            told = ((STATUS, str(outcome.status)),) if dialect.tells_status else ()
            headers = tuple((name, value.encode().decode("latin-1")) for name, value in outcome.headers)  # the server sends ISO 8859-1
            return Response(status, (("Content-Type", "application/json"), *headers, *told), outcome.body.encode())
        case _:
            assert_never(outcome)


def _authorization(check_request: Request, allow: Allow) -> Headers:
    if allow.access_token is not None:
        return (("Authorization", f"Bearer {allow.access_token.reveal()}"),)
    return tuple(("Authorization", value) for value in check_request.values("authorization"))


def _removed(dialect: GatewayDialect, allow: Allow) -> Headers:
    return ((REMOVE, ",".join(allow.removed)),) if dialect.names_removed and allow.removed else ()


# The forms.


def _behind_envoy(check_request: Request) -> ForwardedRequest | None:
    hosts = check_request.values("host")
    if len(hosts) != 1:
        return None
    return ForwardedRequest(check_request.method, _raw(hosts[0]), check_request.target[len(_ENVOY) :])


def _stated_by(method: str, host: str, path: str) -> Callable[[Request], ForwardedRequest | None]:
    """Return what reads a statement from three fields. Each must be there once, and no other that some servers take for it."""
    names = frozenset({method, host, path})

    def statement(check_request: Request) -> ForwardedRequest | None:
        found: dict[str, str] = {}
        for name, value in check_request.headers:
            meant = name.replace("_", "-")
            if meant not in names:
                continue
            if meant != name or meant in found:
                return None
            found[name] = _raw(value)
        return ForwardedRequest(found[method], found[host], found[path]) if len(found) == len(names) else None

    return statement


def _is_at(path: str) -> Callable[[str], bool]:
    return lambda target: target.partition("?")[0] == path


_FORWARDED: Final = ("x-forwarded-method", "x-forwarded-host", "x-forwarded-uri")
_ORIGINAL: Final = ("x-original-method", "x-original-host", "x-original-uri")

# Envoy takes every 5xx for a failed call, which ``failure_mode_allow`` lets pass.
ENVOY: Final = GatewayDialect(
    matches=lambda target: target.startswith(_ENVOY),
    statement=_behind_envoy,
    stating=frozenset(),
    status=lambda status: _FORBIDDEN if status >= _SERVER_ERROR else status,
    tells_status=True,
    names_removed=True,
)
FORWARD_AUTH: Final = GatewayDialect(
    matches=_is_at("/forward-auth"), statement=_stated_by(*_FORWARDED), stating=frozenset(_FORWARDED), status=lambda status: status
)
# NGINX makes an error of every answer but 2xx, 401 and 403.
AUTH_REQUEST: Final = GatewayDialect(
    matches=_is_at("/auth-request"),
    statement=_stated_by(*_ORIGINAL),
    stating=frozenset(_ORIGINAL),
    status=lambda status: status if status == _UNAUTHORIZED else _FORBIDDEN,
    tells_status=True,
)
DIALECTS: Final = (ENVOY, FORWARD_AUTH, AUTH_REQUEST)
