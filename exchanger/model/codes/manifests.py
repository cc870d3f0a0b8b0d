"""Codes about manifests and the relations between documents.

POL-21xx between entries, POL-22xx limits of namespaces, POL-30xx files and objects, POL-31xx labels.
"""

from typing import Final

from exchanger.model.codes.code import Code, Example, Severity

_NAMESPACE: Final = """\
apiVersion: v1
kind: Namespace
metadata:
  name: team
  labels:
    ext-authz-token-exchange.magneticflux.net/policy: enabled
"""


def _config_map(
    document: str, *, kind: str = "ConfigMap", version: str = "v1", label: str = 'ext-authz-token-exchange.magneticflux.net/enabled: "true"'
) -> str:
    head = f"apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: policy\n  namespace: team\n  labels:\n    {label}\ndata:\n"
    return f"{head}  config.yaml: |\n" + "".join(f"    {line}\n" for line in document.splitlines())


def _manifests(*entries: str) -> str:
    document = "version: v1\nentries:\n" + "".join(f"  - {entry}\n" for entry in entries)
    return f"{_NAMESPACE}---\n{_config_map(document)}"


_ORDERS: Final = "{match: {host: api.example.com, pathPrefix: /orders}, action: deny}"

MISSING_DOCUMENT: Final = Code(
    "POL-1001",
    "A ConfigMap selected as a policy has no document.",
    ("The key under data is not called config.yaml.", "The document is in binaryData."),
    "Put the document under data, config.yaml, as text.",
    _config_map("version: v1").replace("config.yaml", "document.yaml"),
    Example.MANIFESTS,
)
FOUND_TWICE: Final = Code(
    "POL-1008",
    "The same ConfigMap is in more than one file, with different documents.",
    ("A file was copied and renamed, and the original stayed.",),
    "Delete one of the two files, or rename one of the ConfigMaps.",
    f"{_config_map('version: v1')}---\n{_config_map('version: v1 # another')}",
    Example.MANIFESTS,
)
CONFLICT: Final = Code(
    "POL-2101",
    "Entries share a host, method and path prefix, so requests that they cover are refused.",
    ("An entry was copied, and its match was not changed.", "Two teams claim the same path."),
    "Give the entries different prefixes or methods, or delete one of them.",
    _manifests(_ORDERS, "{match: {host: api.example.com, pathPrefix: /orders}, action: deny, exchange: {scope: x}}").replace(
        "action: deny, exchange: {scope: x}", "action: exchange, exchange: {issuerRef: primary, scope: read}"
    ),
    Example.MANIFESTS,
)
DUPLICATE: Final = Code(
    "POL-2102",
    "Two entries are the same, so requests that they cover are refused.",
    ("An entry was copied, and nothing was changed.", "A file is applied under two names."),
    "Delete one of the two entries.",
    _manifests(_ORDERS, _ORDERS),
    Example.MANIFESTS,
)
UNREACHABLE: Final = Code(
    "POL-2103",
    "No request reaches an entry, because other entries decide every request that it covers.",
    ("A more specific entry covers the same paths.", "The baseline of the grants denies all of it."),
    "Delete the entry, or make its match more specific.",
    _manifests(
        "{match: {host: api.example.com, pathPrefix: /}, action: deny}",
        "{match: {host: api.example.com, pathPrefix: /, pathType: Segment}, action: deny}",
    ),
    Example.MANIFESTS,
    Severity.WARNING,
)
NEAR_PREFIX: Final = Code(
    "POL-2104",
    "Two path prefixes of a host differ only by a trailing slash, or by case.",
    ("They were meant to be the same.", "Paths are case-sensitive, and /orders/ does not cover /orders."),
    "Correct the wrong one. To cover both spellings with one entry, write pathType: Segment (without the slash) or caseInsensitive: true.",
    _manifests(_ORDERS, "{match: {host: api.example.com, pathPrefix: /Orders}, action: deny}"),
    Example.MANIFESTS,
    Severity.WARNING,
)
NEAR_HOST: Final = Code(
    "POL-2105",
    "A host differs by one character from one that other entries name.",
    ("One of the two is misspelt. An entry for a host that no request has protects nothing.",),
    "Correct the host. If both hosts exist, accept the notice: # exchanger: ignore POL-2105.",
    _manifests(
        _ORDERS,
        "{match: {host: api.example.com, pathPrefix: /billing}, action: deny}",
        "{match: {host: api.exmaple.com, pathPrefix: /users}, action: deny}",
    ),
    Example.MANIFESTS,
    Severity.NOTICE,
)
DENY_BY_HEADER: Final = Code(
    "POL-2106",
    "An entry denies requests with a header, and callers evade it by leaving the header out.",
    ("Without the header, another entry exchanges the token or allows the request.", "Without the header, no entry decides."),
    "Make the gateway require the header, or deny by path or method. Use headers to grant rights, not to take them away.",
    _manifests(
        "{match: {host: api.example.com, pathPrefix: /tools, headers: [{name: x-tool, value: drop}]}, action: deny}",
        "{match: {host: api.example.com, pathPrefix: /tools}, action: exchange, exchange: {issuerRef: primary, scope: read}}",
    ),
    Example.MANIFESTS,
    Severity.WARNING,
)
HEAD_OVERRIDDEN: Final = Code(
    "POL-2107",
    "An entry for HEAD has no effect, because GET gets a stricter decision.",
    ("GET handlers also answer HEAD, so HEAD gets the stricter of two decisions: the one for HEAD, and the one for GET.",),
    "Delete the entry, or make the entry that decides GET do the same.",
    _manifests(
        "{match: {host: api.example.com, pathPrefix: /, methods: [GET]}, action: deny}",
        "{match: {host: api.example.com, pathPrefix: /, methods: [HEAD]}, action: exchange, exchange: {issuerRef: primary, scope: read}}",
    ),
    Example.MANIFESTS,
    Severity.WARNING,
)
UNCOVERED_PATHS: Final = Code(
    "POL-2108",
    "A host has entries, and no entry covers its other paths.",
    ("Only what needs another token has an entry. All other requests for the host pass with the caller's own token.",),
    "If only the covered paths should be reachable, add the entry that the message names. If the rest should pass, accept the notice: "
    "# exchanger: ignore POL-2108.",
    _manifests(_ORDERS),
    Example.MANIFESTS,
    Severity.NOTICE,
)
IGNORES_NOTHING: Final = Code(
    "POL-2109",
    "An ignore comment names a code that the check does not find there.",
    (
        "The problem was corrected, and the comment stayed.",
        "The comment names no code, or a misspelt one.",
        "The code is an error. Comments can ignore only warnings and notices.",
        "The comment is on a different line from the problem.",
    ),
    "Delete the comment, correct its code, or move it to the line of the problem or the first line of its entry.",
    _manifests("{match: {host: api.example.com, pathPrefix: /}, action: deny} # exchanger: ignore POL-2106"),
    Example.MANIFESTS,
    Severity.NOTICE,
)
DENY_WITHOUT_SLASH: Final = Code(
    "POL-2110",
    "An entry denies a path with a trailing slash, and the same path without the slash is open.",
    ("Paths match character by character: /admin/ covers /admin/users, and not /admin, which many servers treat alike.",),
    "Write the path without the slash and pathType: Segment, which covers the path itself and everything below it.",
    _manifests(
        "{match: {host: api.example.com, pathPrefix: /admin/}, action: deny}",
        "{match: {host: api.example.com, pathPrefix: /}, action: exchange, exchange: {issuerRef: primary, scope: read}}",
    ),
    Example.MANIFESTS,
    Severity.WARNING,
)

MANY_ENTRIES: Final = Code(
    "POL-2201",
    "The documents of a namespace have more entries than the operator allows.",
    ("Policies are generated, one for each user or object.", "Old ConfigMaps were never deleted."),
    "Cover more with one entry, or delete some. Documents count in the order of their names: the first one that exceeds the limit, and "
    "every later one, fails closed on the hosts that it names.",
    "The documents of a namespace have 10,001 entries, and POLICY_MAX_ENTRIES is not set.",
    Example.SITUATION,
)
DEEP_ENTRIES: Final = Code(
    "POL-2202",
    "Too many prefixes of a namespace, with their header names, cover one path of a host.",
    (
        "Prefixes are nested many levels deep.",
        "Entries name many combinations of headers, or spell one in several ways.",
    ),
    "Use fewer nested prefixes. Values of one header, and prefixes beside each other, count once. Until then the outermost prefixes of the "
    "namespace on this host fail closed for all methods.",
    _manifests(*(f"{{match: {{host: api.example.com, pathPrefix: /{'a' * length}}}, action: deny}}" for length in range(25))),
    Example.MANIFESTS,
)

MANY_AREAS: Final = Code(
    "POL-2203",
    "More scopes fail closed because of mistakes in a namespace than are allowed.",
    (
        "Thousands of entries are invalid, for example because they name a removed issuer.",
        "Invalid entries name several hosts, and each host counts.",
        "Entries with a wildcard, or without a usable host, are only partly granted, and each fails closed on many granted hosts.",
    ),
    "Correct or delete invalid entries. Documents count in the order of their names: the first one that exceeds the limit, and every later "
    "one, fails closed on the hosts that it names. Granted hosts that partly granted wildcards and mistakes cover fail closed as a whole.",
    "The documents of a namespace have 10,001 invalid entries, and POLICY_MAX_FAIL_CLOSED_SCOPES is not set.",
    Example.SITUATION,
)
MANY_DOCUMENTS: Final = Code(
    "POL-2204",
    "A namespace has more ConfigMaps with policies, or larger ones, than the operator allows.",
    (
        "Policies are generated, one ConfigMap for each user or object.",
        "Old ConfigMaps were never deleted, or still have the label.",
        "Documents have long comments or many labels.",
    ),
    "Delete some, remove the label, or merge several into one. ConfigMaps count in the order of their names: the first one that exceeds "
    "the limit, and every later one, is not read, and fails closed like an unreadable document. They are read within a minute or two once "
    "there is room.",
    "A namespace has 10,001 ConfigMaps with the label, and POLICY_MAX_DOCUMENTS is not set.",
    Example.SITUATION,
)

UNREADABLE_FILE: Final = Code(
    "POL-3001",
    "A file cannot be read as manifests.",
    (
        "The indentation is wrong.",
        "It is neither YAML nor JSON in UTF-8.",
        "JSON has comments, trailing commas, a byte order mark, or more than one value.",
        "It is an unrendered template.",
    ),
    "Correct the syntax at the place the message names. Render Helm templates first.",
    "apiVersion: v1\nkind: [\n",
    Example.MANIFESTS,
)
LARGE_FILE: Final = Code(
    "POL-3002",
    "A file exceeds a limit of size, depth or number of values.",
    (
        "The file does not contain manifests.",
        "Many manifests are in one file.",
    ),
    "Split the file, or move it out of the folder if it contains no manifests.",
    "a: " + "[" * 80 + "]" * 80 + "\n",
    Example.MANIFESTS,
)
MALFORMED_OBJECT: Final = Code(
    "POL-3003",
    "The API server would reject a ConfigMap, Namespace or list.",
    ("metadata.name is missing.", "A label or annotation is an unquoted number or boolean."),
    "Add the field that the message names, or correct its value. Quote numbers and booleans in labels and annotations.",
    _config_map("version: v1", label="ext-authz-token-exchange.magneticflux.net/enabled: true"),
    Example.MANIFESTS,
)
BARE_POLICY: Final = Code(
    "POL-3004",
    "A policy document is not in a ConfigMap.",
    ("The document is in a file by itself.",),
    "Put the document into a ConfigMap, under data, config.yaml.",
    "version: v1\nentries: []\n",
    Example.MANIFESTS,
    Severity.WARNING,
)
WRONG_KIND: Final = Code(
    "POL-3005",
    "An object is skipped, because its kind or apiVersion is missing or misspelt.",
    ("kind is not spelt exactly ConfigMap.", "apiVersion is not v1."),
    "Write apiVersion: v1 and kind: ConfigMap.",
    _config_map("version: v1", kind="Configmap"),
    Example.MANIFESTS,
    Severity.WARNING,
)
EMPTY_FILE: Final = Code(
    "POL-3006",
    "A file or a list is empty.",
    ("A template rendered to nothing.",),
    "Add manifests to the file, or delete it.",
    "\n",
    Example.MANIFESTS,
    Severity.WARNING,
)
UNREAD_FILE: Final = Code(
    "POL-3007",
    "A file or folder in the policy folder is not read.",
    ("The name does not end in .yaml, .yml or .json.", "The folder is nested too deeply."),
    "Rename the file to .yaml, .yml or .json, or move it up. If it contains no policy, move it out of the folder.",
    "A file is called orders.yam.",
    Example.SITUATION,
    Severity.WARNING,
)

UNRENDERED: Final = Code(
    "POL-3008",
    "Chart templates are not checked: they are not manifests until rendered.",
    ("The folder contains a chart.",),
    "Render the chart, and check the result: helm template . | exchanger check -.",
    "The folder has a Chart.yaml, and templates beside it.",
    Example.SITUATION,
    Severity.NOTICE,
)

NAMESPACE_NOT_SELECTED: Final = Code(
    "POL-3101",
    "A Namespace is not selected, although one of its labels almost matches.",
    ("The label is misspelt, or on the wrong kind of object.",),
    "Give the Namespace the label that the message names. Until then no policy in it is active.",
    _NAMESPACE.replace("policy:", "polcy:"),
    Example.MANIFESTS,
    Severity.WARNING,
)
CONFIG_MAP_NOT_SELECTED: Final = Code(
    "POL-3102",
    "A ConfigMap is not selected, although it looks like a policy.",
    ("The label is misspelt, missing, or on the wrong kind of object.",),
    "Give the ConfigMap the labels that the message names. Until then the policy is not active.",
    f"{_NAMESPACE}---\n" + _config_map("version: v1\nentries: []", label='ext-authz-token-exchange.magneticflux.net/enabeld: "true"'),
    Example.MANIFESTS,
    Severity.WARNING,
)
NAMESPACE_NOT_ENABLED: Final = Code(
    "POL-3103",
    "A policy is not active, because its Namespace is not selected.",
    ("The label of the Namespace is missing.", "metadata.namespace is missing or misspelt."),
    "Label the Namespace; with a folder as source, it must be in the folder, too. Until then the policy is not active.",
    _NAMESPACE.replace("ext-authz-token-exchange.magneticflux.net/policy: enabled", "team: orders")
    + "---\n"
    + _config_map("version: v1\nentries: []"),
    Example.MANIFESTS,
    Severity.WARNING,
)
NOTHING_ACTIVE: Final = Code(
    "POL-3104",
    "No policy is active.",
    ("No object is selected.", "The entries of every document are empty, or none is granted."),
    "Check the selectors, the labels and the grants.",
    _manifests().replace("entries:", "entries: []"),
    Example.MANIFESTS,
    Severity.WARNING,
)
