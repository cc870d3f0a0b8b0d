"""The routes of a fake token endpoint, read from a file in the Go project's format: which token request gets which answer.

docs/reference/commands.md describes the format.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

import attrs

from exchanger.commands.demo.token_endpoint.rules import NOT_A_BEARER, REFRESH_TOKEN_TYPE, Behaviour, Fail, Issue, Refuse
from exchanger.commands.scenarios.answer import RequestedTarget
from exchanger.commands.scenarios.go_format.fields import as_go_reads, texts
from exchanger.commands.scenarios.reader import MAX_PROBLEMS
from exchanger.commands.scenarios.scenario import why_no_header
from exchanger.formats.yaml.fields import FILE, Field, Fields, FieldType, Findings, Table
from exchanger.formats.yaml.reader import UnreadableYaml, read_nodes
from exchanger.model.codes.problem import Problem
from exchanger.model.errors import ExchangerError
from exchanger.util.text import quoted

MAX_FILE: Final = 1_048_576  # bytes; a ConfigMap holds no more

_STATUS: Final = range(200, 600)  # an informational status would not be an answer
_DELAY: Final = 10_000  # milliseconds of a ``delay`` that names none
_UNKNOWN: Final = Refuse("invalid_request", "unknown fake token scenario")
_ISSUES: Final[Mapping[str, Issue]] = {
    "success": Issue(),
    "missing_access_token": Issue(with_access_token=False),
    "wrong_token_type": Issue(token_type=NOT_A_BEARER),
    "wrong_issued_token_type": Issue(issued_token_type=REFRESH_TOKEN_TYPE),
}
_TYPES: Final = (*_ISSUES, "delay", "malformed", "oauth_error", "json_error")
_RESPONSE_FIELDS: Final = Table.of(
    *texts("type", "scenario", "error", "errorDescription", "wwwAuthenticate"),
    Field("status", FieldType.NUMBER),
    Field("delayMilliseconds", FieldType.NUMBER),
)
_ROUTE_FIELDS: Final = Table.of(
    *texts("name"),
    Field("match", FieldType.MAPPING, fields=Table.of(*texts("path", "scope", "resource", "audience"))),
    Field("response", FieldType.MAPPING, fields=_RESPONSE_FIELDS),
)
_FILE_FIELDS: Final = Table.of(
    Field("routes", FieldType.MAPPINGS, fields=_ROUTE_FIELDS), Field("defaultResponse", FieldType.MAPPING, fields=_RESPONSE_FIELDS)
)


class RoutesError(ExchangerError):
    """The file cannot be used; the message says why, a line for each problem."""


@final
@attrs.frozen
class TokenRoute:
    """``behaviour`` where every part that is not "" matches; ``scenario`` is written into the token."""

    name: str
    behaviour: Behaviour
    scenario: str = ""
    path: str = ""
    scope: str = ""
    resource: str = ""
    audience: str = ""

    def matches(self, path: str, target: RequestedTarget) -> bool:
        """Whether the route is about a token request to ``path`` for ``target``: the whole scope, one of the resources and audiences."""
        return (
            self.path in {"", path}
            and self.scope in {"", target.scope.strip()}
            and (not self.resource or self.resource in [text.strip() for text in target.resources])
            and (not self.audience or self.audience in [text.strip() for text in target.audiences])
        )


@final
@attrs.frozen
class TokenRoutes:
    """The routes in their order, and the answer if none matches."""

    routes: tuple[TokenRoute, ...]
    default: Behaviour = _UNKNOWN

    def route_for(self, path: str, target: RequestedTarget) -> TokenRoute:
        """Return the first route that matches, or the default."""
        return next((route for route in self.routes if route.matches(path, target)), TokenRoute("default", self.default))


def load_routes(file: Path) -> TokenRoutes:
    """Return the routes in ``file``.

    Raises:
        RoutesError: it cannot be read, or is wrong.
    """
    try:
        with file.open("rb") as opened:
            text = opened.read(MAX_FILE + 1).decode()
    except OSError as error:
        raise RoutesError(f"{file}: {error.strerror or type(error).__name__}") from None
    except UnicodeDecodeError:
        raise RoutesError(f"{file}: is not UTF-8") from None
    read = read_routes(text)
    if isinstance(read, TokenRoutes):
        return read
    raise RoutesError("\n".join(f"{file}: {problem.lined}" for problem in read[:MAX_PROBLEMS]))


def read_routes(text: str) -> TokenRoutes | tuple[Problem, ...]:
    """Return the routes in ``text``, or everything that is wrong with it. Never raises."""
    root = read_nodes(text)
    if isinstance(root, UnreadableYaml):
        return (root.problem(FILE),)
    findings = Findings()
    file = Fields.of(as_go_reads(root, _FILE_FIELDS), FILE, _FILE_FIELDS, findings)
    if file is None:
        return tuple(findings.kept)
    items = file.mappings("routes")
    if not items and not findings.kept:
        file.wrong("routes", "must be a list with at least one route")
    names: set[str] = set()
    routes = tuple(_route(item, names) for item in items)
    default = _default(file.inner("defaultResponse"))
    return tuple(findings.kept) or TokenRoutes(routes, default)


def _route(fields: Fields, names: set[str]) -> TokenRoute:
    name = fields.written("name").strip()
    if not name:
        fields.wrong("name", "is required")
    elif name in names:
        fields.wrong("name", f"is already used by an earlier route: {quoted(name)}")
    names.add(name)
    match = fields.inner("match")
    parts = {part: match.written(part).strip() for part in ("path", "scope", "resource", "audience")}
    if not any(parts.values()):
        fields.wrong("match", f"must have at least one of {', '.join(parts)}")
    response = fields.inner("response")
    kind = response.written("type").strip()
    scenario = response.written("scenario").strip() or (name if kind in {"success", "delay"} else "")
    return TokenRoute(name, _behaviour(response, kind), scenario, **parts)


def _default(response: Fields) -> Behaviour:
    kind, error = response.written("type").strip(), response.written("error").strip()
    return _behaviour(response, kind or "oauth_error") if kind or error else _UNKNOWN


def _behaviour(response: Fields, kind: str) -> Behaviour:
    error, status, delay = response.written("error").strip(), response.number("status"), response.number("delayMilliseconds")
    challenge = response.written("wwwAuthenticate").strip()
    if status and status not in _STATUS:
        response.wrong("status", f"must be from {_STATUS[0]} to {_STATUS[-1]}")
    if delay < 0:
        response.wrong("delayMilliseconds", "must not be negative")
    if why_no_header("WWW-Authenticate", challenge):
        response.wrong("wwwAuthenticate", "cannot be the value of a header")
    if kind in _ISSUES:
        return _ISSUES[kind]
    match kind:
        case "delay":
            return Issue(delay=(delay or _DELAY) / 1000)
        case "malformed":
            return Fail(200, '{"access_token":')
        case "oauth_error" | "json_error":
            if not error:
                response.wrong("error", f"is required for {kind}")
            if kind == "json_error":
                return Fail(status or 500, json.dumps({"error": error}))
            return Refuse(error, response.written("errorDescription").strip(), status or 400, challenge)
        case _:
            response.wrong("type", f"must be one of {', '.join(_TYPES)}")
            return _UNKNOWN
