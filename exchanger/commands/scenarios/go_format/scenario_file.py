"""Reads a scenario file of the Go project: a template of YAML. Unknown fields do not count, and only named expectations are compared.

docs/how-to/scenarios.md says which fields there are. The template's values are those of the Go project's demo.
"""

import posixpath
from collections.abc import Mapping as Map
from typing import Final, final
from urllib.parse import quote, urlsplit

import attrs

from exchanger.commands.scenarios.expectation import OK, ExpectedAnswer
from exchanger.commands.scenarios.go_format.fields import as_go_reads, texts
from exchanger.commands.scenarios.scenario import MAX_HEADERS, GatewayCall, LooseRequest, is_host, is_method, is_path, why_no_header
from exchanger.commands.scenarios.tokens import Subject
from exchanger.formats.yaml.fields import FILE, Field, Fields, FieldType, Findings, Table
from exchanger.formats.yaml.nodes import Mapping, Node, Scalar, Sequence, is_null
from exchanger.model.bearer import is_bearer_token
from exchanger.model.codes.policy import WRONG_TYPE
from exchanger.net.http.message import Headers
from exchanger.util.text import quoted

DEFAULT_BASE_URL: Final = "https://httpbin.int.kube"
DEFAULT_NAMESPACE_PREFIX: Final = "service"
DEFAULT_SYSTEM_NAMESPACE: Final = "ext-authz-token-exchange-e2e"

# Values of ``request.token.prefill`` besides ``literal``: tokens that only a Keycloak can issue, or that are derived from one of those.
_SIGNED: Final[Map[str, Subject]] = {
    "keycloak-subject": Subject.VALID,
    "keycloak-expired-subject": Subject.EXPIRED,
    "keycloak-unsigned-subject": Subject.UNSIGNED,
    "keycloak-truncated-signature": Subject.TRUNCATED,
    "keycloak-untrusted-issuer": Subject.FOREIGN,
}
_PREFILLS: Final = ("none", "literal", *_SIGNED)
# The fields that distinguish this format from the other one, which has ``watch`` in each scenario.
_OWN_FIELDS: Final = frozenset({"behavior", "exchange", "policy", "summary"})
_TOKEN_FIELDS: Final = frozenset({"bearer", "token"})
_REQUEST_FIELDS: Final = Table.of(
    *texts("path", "method", "bearer"),
    Field("token", FieldType.MAPPING, fields=Table.of(*texts("prefill", "value"))),
    Field("headers", FieldType.PAIRS),
)
_SCENARIO_FIELDS: Final = Table.of(
    *texts("name", "summary"),
    Field("behavior", FieldType.MAPPING, fields=Table.of(*texts("summary", "detail"))),
    Field("request", FieldType.MAPPING, fields=_REQUEST_FIELDS),
    Field(
        "expect",
        FieldType.MAPPING,
        fields=Table.of(
            Field("status", FieldType.NUMBER), *texts("upstreamAuthorization", "error", "wwwAuthenticateContains", "corsOrigin")
        ),
    ),
)
_FILE_FIELDS: Final = Table.of(*texts("version"), Field("scenarios", FieldType.MAPPINGS, fields=_SCENARIO_FIELDS))
# Characters that Go's URL.JoinPath does not escape; it escapes the others, a question mark among them.
_SAFE_IN_PATH: Final = "/%-_.~$&+,:;=@!'()*[]"
# Headers that Go's HTTP client replaces or omits, and those about the connection, which belong to the client here, too.
_NOT_SENT: Final = frozenset(
    {"host", "connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)


@final
@attrs.frozen
class GoValues:
    """The names in a template. ``bearer_token`` is hidden from repr."""

    base_url: str = DEFAULT_BASE_URL
    namespace_prefix: str = DEFAULT_NAMESPACE_PREFIX
    system_namespace: str = DEFAULT_SYSTEM_NAMESPACE
    bearer_token: str = attrs.field(default="", repr=False)

    @classmethod
    def of(cls, variables: Map[str, str], base_url: str = "", namespace_prefix: str = "", system_namespace: str = "") -> "GoValues":
        """Return the options' values, otherwise those of variables, otherwise the defaults."""

        def variable(name: str) -> str:
            return variables.get(name, "").strip()

        return cls(
            base_url or variable("DEMO_BASE_URL").rstrip("/") or DEFAULT_BASE_URL,
            namespace_prefix or variable("DEMO_NAMESPACE_PREFIX") or DEFAULT_NAMESPACE_PREFIX,
            system_namespace or variable("DEMO_SYSTEM_NAMESPACE") or DEFAULT_SYSTEM_NAMESPACE,
            variable("DEMO_BEARER_TOKEN"),
        )

    def named(self) -> dict[str, str]:
        """Return the values by the names that templates use."""
        return {
            "BaseURL": self.base_url,
            "BaseURLHost": self._host(),
            "NamespacePrefix": self.namespace_prefix,
            "SystemNamespace": self.system_namespace,
            "BearerToken": self.bearer_token,
        }

    @property
    def authority(self) -> str:
        """The ``Host`` of all requests."""
        return urlsplit(self.base_url).netloc if self._host() else ""

    def _host(self) -> str:
        try:
            return urlsplit(self.base_url).hostname or ""
        except ValueError:
            return ""


def is_go_file(root: Node) -> bool:
    """Whether ``root`` looks like a scenario file of the Go project rather than one of ours."""
    items = _pairs(root).get("scenarios")
    scenarios = [_pairs(item) for item in items.items] if isinstance(items, Sequence) else []
    if any("watch" in scenario for scenario in scenarios):
        return False
    return any(scenario.keys() & _OWN_FIELDS or _pairs(scenario.get("request")).keys() & _TOKEN_FIELDS for scenario in scenarios)


def _pairs(node: Node | None) -> dict[str, Node]:
    pairs = node.pairs if isinstance(node, Mapping) else ()
    return {key.text.lower(): value for key, value in pairs if isinstance(key, Scalar)}


def read_go_scenarios(root: Node, values: GoValues, findings: Findings) -> tuple[LooseRequest, ...]:
    """Return the scenarios in ``root``; problems go to ``findings``."""
    file = Fields.of(root if is_null(root) else as_go_reads(root, _FILE_FIELDS, any_case=True), FILE, _FILE_FIELDS, findings)
    if file is None:
        return ()
    if file.written("version") != "v1":
        file.wrong("version", "must be v1")
    scenarios = file.mappings("scenarios")
    if not scenarios and not findings.kept:
        file.wrong("scenarios", "must be a list with at least one scenario")
    if not is_host(values.authority):
        findings.add(WRONG_TYPE, "the base URL must have a host", None, "the base URL")
    names: set[str] = set()
    return tuple(_scenario(scenario, values, names) for scenario in scenarios)


def _scenario(fields: Fields, values: GoValues, names: set[str]) -> LooseRequest:
    name = fields.written("name")
    if not name.strip() or not name.isprintable():
        fields.wrong("name", "must be one line of text")
    elif name in names:
        fields.wrong("name", f"is already used by an earlier scenario: {quoted(name)}")
    names.add(name)
    behavior = fields.inner("behavior")
    for part in ("summary", "detail"):
        if not behavior.written(part).strip():
            behavior.wrong(part, "is required")
    watch = " ".join((fields.written("summary") or behavior.written("summary")).split())
    if not watch.isprintable():
        fields.wrong("summary", "has characters that cannot be shown")
    call = _call(fields.inner("request"), values)
    expect = fields.inner("expect")
    expected = ExpectedAnswer(
        expect.number("status") or OK,
        expect.written("upstreamAuthorization"),
        expect.written("error"),
        expect.written("wwwAuthenticateContains"),
        expect.written("corsOrigin"),
    )
    return LooseRequest(name, watch, call, expected)


def _call(fields: Fields, values: GoValues) -> GatewayCall:
    written = fields.written("path")
    if not written.strip():
        fields.wrong("path", "is required")
    path = _joined(written)
    if not is_path(path):
        fields.wrong("path", "is longer than a path can be")
    method = fields.written("method").upper() or "GET"
    if not is_method(method):
        fields.wrong("method", "must be a method, such as GET")
    subject, literal, signed = _token(fields)
    headers = _headers(fields)
    for name, value in headers:
        scheme, _, token = value.partition(" ")
        if name.lower() == "authorization" and scheme.lower() == "bearer" and is_bearer_token(token):
            subject, literal, signed = Subject.VALID, token, False  # as in Go, this one is sent
    headers = tuple(header for header in headers if header[0].lower() != "authorization" or header[1] != f"Bearer {literal}")
    for name, value in headers:
        if reason := why_no_header(name, value):
            fields.wrong("headers", f"has one that {reason}")
    return GatewayCall(values.authority, path, subject, method, headers, literal, signed)


def _token(fields: Fields) -> tuple[Subject, str, bool]:
    """Return the subject, the token itself if the file has it, and whether it must be a Keycloak's."""
    token = fields.inner("token")
    prefill, value, older = token.written("prefill"), token.written("value"), fields.written("bearer")
    if not prefill and not value:  # files before ``token`` say ``bearer``
        prefill, value = ("literal", older) if older else ("none", "")
    if prefill not in _PREFILLS:
        token.wrong("prefill", f"must be one of {', '.join(_PREFILLS)}")
    elif prefill == "literal":
        if not value:
            token.wrong("value", "is required")
        elif not is_bearer_token(value):
            token.wrong("value", "is not a bearer token that can be sent")
        return Subject.VALID, value, False
    return _SIGNED.get(prefill, Subject.NONE), "", prefill in _SIGNED


def _headers(fields: Fields) -> Headers:
    """Return the headers that are sent; one in another case replaces the one before, as in Go."""
    headers = {name.lower(): (name, value) for name, value in fields.pairs("headers") if name.lower() not in _NOT_SENT}
    if len(headers) > MAX_HEADERS:
        fields.wrong("headers", f"are more than {MAX_HEADERS}")
        return ()
    return tuple(headers.values())


def _joined(path: str) -> str:
    """Return ``path`` below the base URL, as Go's ``URL.JoinPath`` makes it: without dots and doubled slashes, and escaped."""
    clean = posixpath.normpath(f"/{path.lstrip('/')}")
    return quote(f"{clean}/" if path.endswith("/") and clean != "/" else clean, safe=_SAFE_IN_PATH)
