"""Reads the grants file: YAML or JSON written by operators, read strictly. One mistake makes the whole file unusable.

Must not know: where the file is, or what grants lead to.
"""

import re
from collections.abc import Callable
from typing import Final

import attrs

from exchanger.formats.yaml.fields import FILE, Field, Fields, FieldType, Findings, Table
from exchanger.formats.yaml.reader import UnreadableYaml, read_nodes
from exchanger.model.authority import WILDCARD, is_host
from exchanger.model.codes import grants as codes
from exchanger.model.codes.policy import MISSING_FIELD, WRONG_VERSION
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import BASELINE, DenyEntry, MatchScope
from exchanger.model.selector import Selector, parse_selector
from exchanger.policy.documents.document import VERSION
from exchanger.policy.documents.entry_reader import MATCH_FIELDS, MatchReader
from exchanger.policy.documents.text_rules import ALLOW, ANY_HOST, DENY, EXCHANGE
from exchanger.policy.grants import rules
from exchanger.policy.grants.allowance import ANYTHING, DEFAULT_ACTIONS, PLACEHOLDER, Grants, NamespaceGrant
from exchanger.policy.prefix import read_prefix
from exchanger.util.text import quoted

# Hosts times paths, of all grants together: an unreadable document closes as many places.
MAX_AREAS: Final = 10_000
# Problems of one file that are reported.
MAX_PROBLEMS: Final = 10
_ACTIONS: Final = {EXCHANGE, DENY, ALLOW}

_is_namespace: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?").fullmatch
_is_label: Final = re.compile(r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?").fullmatch
_match_resource_stem: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#@\\\s]+/(?:[^?#\\\s]*/)?").fullmatch

_PATTERN: Final = "Exact, or with one * at the end."
_FILLED: Final = "{namespace} and {label:KEY} stand for the namespace's name and the value of one of its labels."
# The fields that select namespaces.
_WHOM: Final = ("namespaces", "namespaceSelector")
GRANT_FIELDS: Final = Table.of(
    Field("namespaces", FieldType.TEXTS, "The names of the namespaces that the grant is for.", rule=rules.NAMESPACE),
    Field(
        "namespaceSelector",
        FieldType.TEXT,
        "A label selector for the namespaces. If both are set, both must match.",
        rule=rules.SELECTOR,
    ),
    Field(
        "hosts",
        FieldType.TEXTS,
        f'Hosts, and wildcards such as *.example.com; "*" alone is every host. Without any, nothing is granted. {_FILLED}',
        rule=rules.HOST,
    ),
    Field("pathPrefixes", FieldType.TEXTS, f"Path prefixes, by whole segments. Default: every path. {_FILLED}", rule=rules.PREFIX),
    Field("actions", FieldType.TEXTS, "Any of exchange, deny and allow. Default: exchange and deny.", rule=rules.ACTIONS),
    Field("issuers", FieldType.TEXTS, f"Names of issuer profiles. {_PATTERN}", rule=rules.ISSUER),
    Field("audiences", FieldType.TEXTS, f"Audiences that may be requested. {_PATTERN} {_FILLED}", rule=rules.PATTERN),
    Field(
        "resources",
        FieldType.TEXTS,
        f"Resources that may be requested. Exact, or with a * after a slash behind the host. {_FILLED}",
        rule=rules.RESOURCE,
    ),
    Field("scopes", FieldType.TEXTS, f"Scopes that may be requested, one by one. {_PATTERN} {_FILLED}", rule=rules.SCOPE),
    says={"anyOf": [{"required": [name]} for name in _WHOM]},
)
_BASELINE_MATCH: Final = Table.of(
    *(
        attrs.evolve(field, rule=ANY_HOST, description=f'{field.description} "*" alone is every host.')
        if field.name == "host"
        else attrs.evolve(field, nullable=False)
        for field in MATCH_FIELDS.fields.values()
        if field.name != "headers"
    )
)
BASELINE_FIELDS: Final = Table.of(
    Field("match", FieldType.MAPPING, "Requests that no policy can open.", required=True, fields=_BASELINE_MATCH),
    Field("action", FieldType.TEXT, "The only action of a baseline: deny.", required=True, rule=rules.BASELINE_ACTION),
)
GRANTS_FIELDS: Final = Table.of(
    Field("version", FieldType.TEXT, f"The version of the format: {VERSION}.", required=True, rule=rules.VERSION_TEXT),
    Field(
        "grants",
        FieldType.MAPPINGS,
        "What namespaces may do. An empty list grants nothing.",
        required=True,
        fields=GRANT_FIELDS,
    ),
    Field("baseline", FieldType.MAPPINGS, "Denied before any policy applies.", fields=BASELINE_FIELDS),
)


def read_grants(text: str, *, has_labels: bool, enforced: bool = True) -> Grants | tuple[Problem, ...]:
    """Read a grants file, or report its problems (see ``told``). Total, and takes bounded work.

    Args:
        text: the content of the file
        has_labels: the labels of Namespaces are known
        enforced: see ``Grants``
    """
    root = read_nodes(text)
    if isinstance(root, UnreadableYaml):
        return (Problem(root.code, root.reason, line=root.line, column=root.column),)
    findings = Findings()
    file = Fields.of(root, FILE, GRANTS_FIELDS, findings)
    grants: list[NamespaceGrant] = []
    baseline: list[DenyEntry] = []
    if file is not None:
        if (version := file.text("version")) and version != VERSION:
            file.problem(WRONG_VERSION, "version", f"must be {VERSION}, not {quoted(version)}")
        if "grants" not in file.nodes:
            file.problem(MISSING_FIELD, "grants", "is required: an empty list grants nothing")
        grants = [_read_grant(item, has_labels=has_labels) for item in file.mappings("grants")]
        if sum(len(grant.hosts) * len(grant.path_prefixes) for grant in grants) > MAX_AREAS:
            file.problem(codes.MANY_GRANTS, "grants", f"must have at most {MAX_AREAS} pairs of a host and a pathPrefix")
        matches = MatchReader()
        baseline = [_read_denial(item, index, matches) for index, item in enumerate(file.mappings("baseline"))]
    return tuple(findings.kept) or Grants(tuple(grants), tuple(baseline), enforced)


def told(problems: tuple[Problem, ...]) -> tuple[str, ...]:
    """Return the problems of a file as text: a line for each, with place and code, at most ``MAX_PROBLEMS``."""
    lines = [str(problem) if problem.line is None else f"line {problem.line}: {problem}" for problem in problems[:MAX_PROBLEMS]]
    return (*lines, *([f"{len(problems) - MAX_PROBLEMS} more problems"] if len(problems) > MAX_PROBLEMS else []))


def _read_grant(item: Fields, *, has_labels: bool) -> NamespaceGrant:
    known = item.findings.count
    namespaces = item.texts("namespaces") or ()
    for name in namespaces:
        if not _is_namespace(name):
            item.problem(codes.WRONG_NAMESPACE, "namespaces", f"has {quoted(name)}, which is not the name of a namespace")
    grant = NamespaceGrant(
        frozenset(namespaces) if "namespaces" in item.nodes else None,
        _read_selector(item),
        _texts(item, "hosts", _host),
        _texts(item, "pathPrefixes", _prefix) if "pathPrefixes" in item.nodes else ("",),
        _read_actions(item),
        _texts(item, "issuers", _plain_pattern),
        _texts(item, "audiences", _pattern),
        _texts(item, "resources", _resource),
        _texts(item, "scopes", _scope),
    )
    if item.findings.count == known and grant.needs_labels and not has_labels:
        item.problem(
            codes.LABELS_UNKNOWN,
            "namespaceSelector",
            "and label placeholders need Namespace objects, which are not read with POLICY_NAMESPACES",
        )
    return grant


def _read_selector(item: Fields) -> Selector | None:
    if "namespaceSelector" not in item.nodes:
        if "namespaces" not in item.nodes:
            item.problem(codes.NOBODY, "namespaces", "is required, or namespaceSelector: a grant must name its namespaces")
        return None
    text = item.text("namespaceSelector")
    if not text:
        item.problem(codes.NOBODY, "namespaceSelector", "must not be blank: it would select every namespace")
        return None
    try:
        return parse_selector(text)
    except ValueError as error:
        item.problem(codes.WRONG_SELECTOR, "namespaceSelector", f"is not a label selector: {error}")
        return None


def _read_actions(item: Fields) -> frozenset[str]:
    if "actions" not in item.nodes:
        return DEFAULT_ACTIONS
    actions = frozenset(text.lower() for text in item.texts("actions") or ())
    for action in sorted(actions - _ACTIONS - {ANYTHING}):
        item.problem(codes.UNKNOWN_GRANTED_ACTION, "actions", f"must be exchange, deny or allow, not {quoted(action)}")
    return actions - {ANYTHING} | (DEFAULT_ACTIONS if ANYTHING in actions else frozenset())


_CODES: Final = {"hosts": codes.WRONG_GRANTED_HOST, "pathPrefixes": codes.WRONG_GRANTED_PREFIX}

_Reader = Callable[[str], str]


class _WrongError(Exception):
    """An item of a list cannot be used; the message continues after the item."""


def _texts(item: Fields, name: str, read: _Reader) -> tuple[str, ...]:
    """Return the items of a list, each as ``read`` makes it."""
    found: dict[str, None] = {}
    for text in item.texts(name) or ():
        try:
            found[read(text)] = None
        except _WrongError as wrong:
            item.problem(_CODES.get(name, codes.WRONG_GRANTED_PATTERN), name, f"has {quoted(text)}, which {wrong}")
    return tuple(found)


def _filled(text: str) -> str:
    """Return ``text`` with a plain text in place of each placeholder."""
    for found in PLACEHOLDER.finditer(text):
        if found[1] is not None and not _is_label(found[1]):
            raise _WrongError("has a label placeholder without a key")
    filled = PLACEHOLDER.sub("x", text)
    if "{" in filled or "}" in filled:
        raise _WrongError("has a placeholder other than {namespace} and {label:KEY}")
    return filled


def _outside_placeholders(text: str, change: _Reader) -> str:
    parts, at = [], 0
    for found in PLACEHOLDER.finditer(text):
        parts += [change(text[at : found.start()]), found[0]]
        at = found.end()
    return "".join([*parts, change(text[at:])])


def _lower(text: str) -> str:
    """Return ``text`` in lower case, only in ASCII: lower-casing the Kelvin sign would make a valid host of an invalid one."""
    return text.lower() if text.isascii() else text


def _host(text: str) -> str:
    if text == ANYTHING:
        return text
    _filled(text)  # before it is in lower case: {Namespace} is not a placeholder
    text = _outside_placeholders(text, _lower)
    filled = _filled(text).removeprefix(WILDCARD)
    if not is_host(filled) or (text.startswith(WILDCARD) and filled.startswith("[")):
        raise _WrongError("is not a host name: write it without scheme, port, path or trailing dot")
    return text


def _prefix(text: str) -> str:
    if text == ANYTHING:
        return ""
    if not text.startswith("/"):
        raise _WrongError("does not begin with a slash")
    if text == "/":
        return ""
    reading = read_prefix(_filled(text))
    if reading.problem:
        raise _WrongError(reading.problem)
    return text.rstrip("/")


def _plain_pattern(text: str) -> str:
    if "{" in text or "}" in text:
        raise _WrongError("has a placeholder, which is allowed only in hosts, pathPrefixes, audiences, resources and scopes")
    return _starred(text)


def _starred(text: str) -> str:
    if ANYTHING in text[:-1]:
        raise _WrongError("has a * that is not at its end")
    return text


def _pattern(text: str) -> str:
    _filled(text)
    return _starred(text)


def _scope(text: str) -> str:
    if any(char.isspace() for char in text):
        raise _WrongError("is more than one scope: write each as a separate item")
    return _pattern(text)


def _resource(text: str) -> str:
    filled = _filled(_starred(text))
    if text != ANYTHING and text.endswith(ANYTHING) and not _match_resource_stem(filled[:-1]):
        raise _WrongError("has a * that does not follow a slash after the host")
    return text


def _read_denial(item: Fields, index: int, matches: MatchReader) -> DenyEntry:
    """Read one denial; every host has the host ``None``."""
    if (action := item.text("action").lower()) and action != DENY:
        item.problem(codes.UNKNOWN_GRANTED_ACTION, "action", f"must be deny, not {quoted(action)}")
    match = item.nodes.get("match")
    fields = None if match is None else Fields.of(match, "match", _BASELINE_MATCH, Findings())
    every_host = fields is not None and fields.text("host") == ANYTHING
    scopes = matches.read(item, every_host=every_host)
    scope = scopes[0] if scopes else MatchScope()
    return DenyEntry(BASELINE, index, scope)
