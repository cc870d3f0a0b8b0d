"""Codes about grants: POL-20xx for policies beyond their grants, POL-40xx for the grants file."""

from typing import Final

from exchanger.model.codes.code import Code, Example, Severity, policy

_GRANTS: Final = """\
version: v1
grants:
  - namespaces: [team]
    hosts: [api.example.com]
    pathPrefixes: [/orders]
    issuers: [primary]
    scopes: ["read:orders"]
"""


def _grant(more: str) -> str:
    return f"version: v1\ngrants:\n  - namespaces: [team]\n    hosts: [api.example.com]\n    {more}\n"


OUTSIDE_GRANTS: Final = Code(
    "POL-2001",
    "A policy is outside the hosts and paths that its namespace is granted.",
    ("The host or the path belongs to another team.", "The platform team has not granted it yet."),
    "Correct the host or the path, or ask the platform team for a grant. Until then the entry is ignored.",
    policy(host="other.example.com"),
    Example.GRANTED_POLICY,
    grants=_GRANTS,
)
PARTLY_OUTSIDE_GRANTS: Final = Code(
    "POL-2002",
    "An entry covers more than its namespace is granted.",
    ("The prefix is shorter than the granted one.", "The host is a wildcard, and only some hosts below it are granted."),
    "Use the granted host and prefix. Until then requests in the granted part get 500.",
    policy(prefix="/"),
    Example.GRANTED_POLICY,
    grants=_GRANTS,
)
NOT_GRANTED: Final = Code(
    "POL-2003",
    "An entry requests an action, issuer, audience, resource or scope that its namespace is not granted.",
    ("The scope is misspelt, or new.", "The action allow has to be granted explicitly."),
    "Request only what is granted, or ask the platform team for a grant. Until then requests that the entry covers get 500, on every "
    "granted path that a plain pathPrefix begins.",
    policy(action="exchange", more='exchange:\n  issuerRef: primary\n  scope: "write:orders"'),
    Example.GRANTED_POLICY,
    grants=_GRANTS,
)
NOBODY: Final = Code(
    "POL-4001",
    "A grant names no namespaces.",
    ("namespaces and namespaceSelector are both missing, or the selector is blank.",),
    "Set namespaces, namespaceSelector, or both.",
    "version: v1\ngrants:\n  - hosts: [api.example.com]\n",
    Example.GRANTS,
)
WRONG_NAMESPACE: Final = Code(
    "POL-4002",
    "A grant names a namespace that cannot exist.",
    ("A pattern was written.", "The name has upper case letters, or characters that namespace names cannot have."),
    "Write the name of a namespace, or use namespaceSelector.",
    'version: v1\ngrants:\n  - namespaces: ["team-*"]\n    hosts: [api.example.com]\n',
    Example.GRANTS,
)
WRONG_SELECTOR: Final = Code(
    "POL-4003",
    "namespaceSelector is not a label selector.",
    ("It is written as YAML instead of in kubectl's form, such as team=orders.",),
    "Write a selector as for kubectl get -l.",
    'version: v1\ngrants:\n  - namespaceSelector: "team = = orders"\n    hosts: [api.example.com]\n',
    Example.GRANTS,
)
UNKNOWN_GRANTED_ACTION: Final = Code(
    "POL-4004",
    "A grant has an unknown action, or the baseline has an action other than deny.",
    ("The word comes from another product, such as block or permit.",),
    "Write exchange, deny or allow; in the baseline, write deny.",
    _grant("actions: [permit]"),
    Example.GRANTS,
)
WRONG_GRANTED_HOST: Final = Code(
    "POL-4005",
    "A grant has a host that no request can have.",
    ("The host has a scheme, a port, a path or a trailing dot.", "A * is anywhere but in a leading *.", "A placeholder is unknown."),
    "Write host names, *.example.com for all hosts below one, or * for every host.",
    'version: v1\ngrants:\n  - namespaces: [team]\n    hosts: ["https://api.example.com"]\n',
    Example.GRANTS,
)
WRONG_GRANTED_PREFIX: Final = Code(
    "POL-4006",
    "A grant has an invalid path prefix.",
    ("The slash at the beginning is missing.", "A pattern was written. Prefixes cover whole segments."),
    "Write the path as plain text.",
    _grant("pathPrefixes: [orders]"),
    Example.GRANTS,
)
WRONG_GRANTED_PATTERN: Final = Code(
    "POL-4007",
    "A grant has an invalid issuer, audience, resource or scope.",
    ("A * is anywhere but at the end.", "A placeholder is unknown.", "Several scopes are in one string."),
    "Write exact values, or values with one * at the end. In a resource, the * follows a slash.",
    _grant('scopes: ["*:orders"]'),
    Example.GRANTS,
)
MANY_GRANTS: Final = Code(
    "POL-4008",
    "The grants have too many pairs of host and path prefix.",
    ("The file is generated from a list of every host.",),
    "Use wildcards and placeholders.",
    "version: v1\ngrants:\n  - namespaces: [team]\n    hosts: ["
    + ", ".join(f"h{number}.example.com" for number in range(101))
    + "]\n    pathPrefixes: ["
    + ", ".join(f"/p{number}" for number in range(100))
    + "]\n",
    Example.GRANTS,
)
LABELS_UNKNOWN: Final = Code(
    "POL-4009",
    "A grant needs Namespace labels, which the service does not read.",
    ("POLICY_NAMESPACES names the namespaces, so there are no Namespace objects.",),
    "Name the namespaces, or let the service read Namespaces.",
    "version: v1\ngrants:\n  - namespaceSelector: team=orders\n    hosts: [api.example.com]\n",
    Example.GRANTS,
)
GRANTED_LESS: Final = Code(
    "POL-4010",
    "A namespace is granted less than the grants file seems to say.",
    ("A label that a placeholder uses is missing, or its value cannot be part of a host.",),
    "Label the Namespace, or change the grants file.",
    'version: v1\ngrants:\n  - namespaces: [team]\n    hosts: ["{label:team}.example.com"]\n',
    Example.GRANTS,
    Severity.WARNING,
)
LEFT_OUT: Final = Code(
    "POL-4011",
    "A namespace is granted nothing, and a grant names one with almost the same name.",
    ("The name, or a label, is misspelt.",),
    "Correct the label, or the grants file.",
    "version: v1\ngrants:\n  - namespaces: [taem]\n    hosts: [api.example.com]\n",
    Example.GRANTS,
    Severity.WARNING,
)
