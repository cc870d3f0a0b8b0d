"""Codes of policy documents.

POL-10xx the document, POL-11xx fields, POL-12xx hosts, POL-13xx path prefixes, POL-14xx the rest of a match, POL-19xx style.
"""

from typing import Final

from exchanger.model.codes.code import Code, Severity, policy

_PREFIX: Final = "Servers change such a path before they use it, so the entry would only seem to protect something."

EMPTY_DOCUMENT: Final = Code(
    "POL-1002",
    "The document is empty.",
    ("A template rendered to nothing.",),
    "Write version: v1 and the entries, or delete the ConfigMap.",
    "   \n",
)
NOT_YAML: Final = Code(
    "POL-1003",
    "The document is not readable YAML.",
    (
        "The indentation is wrong, or a tab indents a line.",
        "A value with : or # or a leading * is not quoted.",
        "An alias or merge key refers to an anchor that does not exist.",
    ),
    "Correct the indentation or the syntax at the line and column in the message. Indent with spaces. Quote values with special "
    "characters.",
    "version: v1\nentries: [\n",
)
TOO_LARGE: Final = Code(
    "POL-1004",
    "The document exceeds a limit of size, depth or number of values.",
    ("Generated policies grew beyond what one ConfigMap holds.", "Aliases multiply what they refer to."),
    "Move some of the entries into another ConfigMap.",
    "version: v1\nentries: " + "[" * 40 + "]" * 40 + "\n",
)
SECOND_DOCUMENT: Final = Code(
    "POL-1005",
    "There is a second YAML document after ---.",
    ("Several policies were put into one config.yaml.",),
    "Put all entries into one list, or each document into a ConfigMap of its own.",
    "version: v1\n---\nversion: v1\n",
)
DUPLICATE_KEY: Final = Code(
    "POL-1006",
    "A mapping has the same key twice.",
    ("A block was copied, and only part of it was changed.",),
    "Delete one of the two keys. To write two entries, begin each with a dash.",
    "version: v1\nversion: v1\n",
)
WRONG_VERSION: Final = Code(
    "POL-1007",
    "The version is missing, or it is not v1.",
    ("The field was left out.", "apiVersion was written instead."),
    "Write version: v1.",
    "version: v2\nentries: []\n",
)

UNKNOWN_FIELD: Final = Code(
    "POL-1101",
    "A field is unknown here.",
    ("The name is misspelt, or its case is wrong.", "The field is one level too high or too low."),
    "Correct the name or the indentation. The reference lists the fields of each mapping.",
    policy(more="acton: deny"),
)
MISSING_FIELD: Final = Code(
    "POL-1102",
    "A required field is missing, or blank.",
    ("The field was left out.", "A template rendered to nothing.", "The field is one level too high or too low."),
    "Add the field that the message names. If it is already there, correct its indentation.",
    "version: v1\nentries:\n  - match:\n      host: api.example.com\n    action: deny\n",
)
WRONG_TYPE: Final = Code(
    "POL-1103",
    "A field has a value of the wrong type.",
    (
        "A number, boolean or date is written where a string is needed.",
        "A single value is written where a list is needed, or the other way round.",
        "A dash is missing or superfluous.",
    ),
    "Write a value of the type that the message names. Quotes make a string; a number or boolean has none. A list has dashes or brackets.",
    policy(match="methods: GET"),
)
UNKNOWN_ACTION: Final = Code(
    "POL-1104",
    "The action is not exchange, deny or allow.",
    ("The word comes from another product, such as block or permit.", "The word is misspelt."),
    "Write exchange, deny or allow.",
    policy(action="block"),
)
UNKNOWN_ISSUER: Final = Code(
    "POL-1105",
    "issuerRef names an issuer profile that does not exist.",
    ("The name is misspelt.", "The platform team has not added the profile yet."),
    "Use the name of a profile, or ask the platform team to add it.",
    policy(action="exchange", more="exchange:\n  issuerRef: primery\n  scope: read:orders"),
)
NO_TARGET: Final = Code(
    "POL-1106",
    "An exchange requests nothing.",
    ("scope, resources and audiences are all missing or blank.",),
    "Set at least one of scope, resources and audiences.",
    policy(action="exchange", more="exchange:\n  issuerRef: primary"),
)
WRONG_METADATA: Final = Code(
    "POL-1107",
    "resourceMetadata is not an https URL on the entry's own host.",
    (
        "It is the URL of the identity provider, which clients find in the metadata.",
        "It is a path, or an http URL.",
        "It has user information, a fragment, or characters that a challenge cannot carry.",
    ),
    "Write https://, the entry's host and the path of its metadata, such as /.well-known/oauth-protected-resource (RFC 9728). Without the "
    "field, challenges name no metadata.",
    policy(
        action="exchange",
        more="exchange:\n  issuerRef: primary\n  scope: read:orders\n  resourceMetadata: https://login.example.com/.well-known/oauth-protected-resource",
    ),
)
EMPTY_FIELD: Final = Code(
    "POL-1108",
    "A field is there, but has no value (null).",
    (
        "The lines below it were commented out or removed.",
        "A template rendered to nothing.",
        "The value is null or ~, which some tools write for a default.",
    ),
    "Write the empty value that the message names, or remove the line.",
    policy(match="headers:"),
)

HOST_URL: Final = Code(
    "POL-1201",
    "host is a URL, or has a path, a user or a scheme.",
    ("The URL was copied from a browser.",),
    "Write only the host name.",
    policy(host="https://api.example.com/"),
)
SEVERAL_HOSTS: Final = Code(
    "POL-1202",
    "host names more than one host.",
    ("Several hosts are in one string.",),
    "Write one entry for each host. A wildcard such as *.example.com stands for all hosts below one.",
    policy(host="api.example.com,www.example.com"),
)
HOST_TEMPLATE: Final = Code(
    "POL-1203",
    "host is an unrendered template, or has escapes.",
    ("A placeholder of Helm, Kustomize or the shell was not replaced.",),
    "Render the template before it is applied, or write the host name itself.",
    policy(host='"{{ .Values.host }}"'),
)
HOST_PATTERN: Final = Code(
    "POL-1204",
    "host is a pattern.",
    ("A * is anywhere but in a leading *.", "A regular expression was written."),
    "Write one entry for each host name, or *.example.com for all hosts below one.",
    policy(host="api*.example.com"),
)
NO_HOST: Final = Code(
    "POL-1205",
    "host cannot be the host of any request.",
    ("It contains a character that host names cannot have.",),
    "Write a host name, or an IPv6 address in brackets.",
    policy(host='"???"'),
)
LONG_HOST: Final = Code(
    "POL-1206",
    "host has more than 2,048 characters. Host names have at most 253.",
    ("A list of hosts, or something else entirely, was pasted.",),
    "Write one host name.",
    policy(host="a" * 2100),
)

PREFIX_URL: Final = Code(
    "POL-1301",
    "pathPrefix is a URL.",
    ("The URL was copied from a browser.",),
    "Write only the path.",
    policy(prefix="https://api.example.com/orders"),
)
PREFIX_NETWORK_PATH: Final = Code(
    "POL-1302",
    "pathPrefix begins with two slashes, so servers take what follows for a host.",
    ("Two parts, each with a slash, were joined.",),
    "Begin the path with a single slash.",
    policy(prefix="//orders"),
)
PREFIX_QUOTED: Final = Code(
    "POL-1303",
    "pathPrefix contains quotation marks.",
    ("A template quotes a value that is already quoted.",),
    "Remove the inner quotation marks.",
    policy(prefix="'\"/orders\"'"),
)
PREFIX_EXPRESSION: Final = Code(
    "POL-1304",
    "pathPrefix begins with ^, but it is not a regular expression.",
    ("The prefix was copied from a gateway that matches regular expressions.",),
    "Write the beginning of the path as plain text, without the ^.",
    policy(prefix="^/orders"),
)
PREFIX_DOTS: Final = Code(
    "POL-1305",
    "pathPrefix has a dot segment.",
    (_PREFIX, "Servers resolve . and .. before they choose what to serve."),
    "Write the path without . and .., as it is after the server has resolved them.",
    policy(prefix="/a/../orders"),
)
PREFIX_SLASHES: Final = Code(
    "POL-1306",
    "pathPrefix has an empty segment.",
    ("Two parts, each with a slash, were joined.",),
    "Write a single slash between segments.",
    policy(prefix="/api//orders"),
)
PREFIX_BACKSLASH: Final = Code(
    "POL-1307",
    "pathPrefix has a backslash.",
    ("It is a Windows path, or contains a regular expression's escape.", "Servers treat a backslash as a slash."),
    "Use slashes, and no escapes.",
    policy(prefix="/api\\orders"),
)
PREFIX_FRAGMENT: Final = Code(
    "POL-1308",
    "pathPrefix has a fragment.",
    ("The URL was copied from a browser. No server sees what follows a #.",),
    "Remove the # and what follows it.",
    policy(prefix="/orders#top"),
)
PREFIX_QUERY: Final = Code(
    "POL-1309",
    "pathPrefix has a query.",
    ("The URL was copied from a browser.",),
    "Remove the ? and what follows it. Entries cannot tell queries apart.",
    policy(prefix="/orders?id=1"),
)
PREFIX_ESCAPE: Final = Code(
    "POL-1310",
    "pathPrefix has a % that does not begin an escape.",
    ("The % itself is meant.", "An escape was cut off."),
    "Write %25 for a literal %, or complete the escape.",
    policy(prefix="/100%"),
)
PREFIX_INVISIBLE: Final = Code(
    "POL-1311",
    "pathPrefix contains an invisible character.",
    ("The text was copied from a web page or a document.",),
    "Delete the character, or type the path again instead of copying it.",
    policy(prefix='"/or\\u200bders"'),
)
SEVERAL_PREFIXES: Final = Code(
    "POL-1312",
    "pathPrefix is more than one prefix.",
    ("Several prefixes are in one string.",),
    "Write one entry for each prefix.",
    policy(prefix="/orders,/billing"),
)
PREFIX_WILDCARD: Final = Code(
    "POL-1313",
    "pathPrefix ends with a wildcard.",
    ("A prefix already covers what follows it; a * would be matched literally.",),
    "Remove the wildcard.",
    policy(prefix="/orders/*"),
)
PREFIX_PATTERN: Final = Code(
    "POL-1314",
    "pathPrefix is a pattern.",
    ("It is a path template, such as /orders/{id}, or a regular expression.", "A placeholder was not rendered."),
    "Write the text before the pattern, or one entry for each prefix.",
    policy(prefix='"/orders/{id}/items"'),
)
PREFIX_REWRITTEN: Final = Code(
    "POL-1315",
    "pathPrefix has escapes or parameters that servers rewrite.",
    (_PREFIX,),
    "Write the path as the server sees it: decoded, and without parameters such as ;v=1.",
    policy(prefix="/a%2F%2Fb"),
)
LONG_PREFIX: Final = Code(
    "POL-1316",
    "pathPrefix has more than 2,048 characters.",
    ("Something other than a path was pasted.",),
    "Write a prefix of at most 2,048 characters. A shorter prefix covers the same paths, and more.",
    policy(prefix="/" + "a" * 2100),
)
PREFIX_WITH_HOST: Final = Code(
    "POL-1317",
    "pathPrefix begins with the host.",
    ("The URL was copied without its scheme.",),
    "Write only the path.",
    policy(prefix="api.example.com/orders"),
)

EVERY_METHOD: Final = Code(
    "POL-1401",
    "methods has a word that means all methods.",
    ("ALL or ANY comes from another product.",),
    "Remove methods: without it, the entry covers every method.",
    policy(match="methods: [ALL]"),
)
WRONG_METHOD: Final = Code(
    "POL-1402",
    "methods has something that is not a method.",
    ("Several methods are in one string.", "A pattern or a negation was written."),
    "Write each method as a separate item.",
    policy(match='methods: ["GET,POST"]'),
)
UNKNOWN_PATH_TYPE: Final = Code(
    "POL-1403",
    "pathType is not Prefix, Segment or Exact.",
    ("The word comes from an Ingress or a Gateway, such as PathPrefix.",),
    "Write Prefix, Segment or Exact.",
    policy(match="pathType: PathPrefix"),
)
MANY_HEADERS: Final = Code(
    "POL-1404",
    "The match has more than 8 headers.",
    ("The entry combines conditions that belong in several entries. An entry matches only if all its headers match.",),
    "Name only the headers that tell requests apart. For alternatives, write one entry for each.",
    policy(match="headers:\n" + "".join(f'  - {{name: x-{number}, value: "1"}}\n' for number in range(9))),
)
WRONG_HEADER_NAME: Final = Code(
    "POL-1405",
    "A header name cannot be matched.",
    ("It is a pseudo-header, host, authorization or cookie.", "It has characters that header names cannot have."),
    "Match the host by host, the path by pathPrefix and the method by methods. Leave credentials out of policies.",
    policy(match='headers:\n  - {name: cookie, value: "a"}'),
)
HEADER_TWICE: Final = Code(
    "POL-1406",
    "The match names a header twice.",
    ("Several values are meant as alternatives.", "Two names differ only in case, or in _ and -, which many servers treat as equal."),
    "Write one entry for each value.",
    policy(match='headers:\n  - {name: x-tool, value: "a"}\n  - {name: X-Tool, value: "b"}'),
)
WRONG_HEADER_VALUE: Final = Code(
    "POL-1407",
    "A header has a value that no request can have.",
    ("It is a list with commas.", "It has leading or trailing blanks, which gateways remove."),
    "Write one value, without commas and without spaces around it. For alternatives, write one entry for each value.",
    policy(match='headers:\n  - {name: x-tool, value: "a, b"}'),
)

LOWER_CASE_METHOD: Final = Code(
    "POL-1901",
    "A method is not in upper case.",
    ("Methods are usually written in upper case. The service accepts both.",),
    "Write the method in upper case.",
    policy(match="methods: [get]"),
    severity=Severity.NOTICE,
)
NO_SLASH: Final = Code(
    "POL-1902",
    "pathPrefix does not begin with a slash.",
    ("Every path begins with one. The service adds it.",),
    "Add the slash.",
    policy(prefix="orders"),
    severity=Severity.NOTICE,
)
LITERAL_TEXT: Final = Code(
    "POL-1903",
    "A star or a comma is taken literally.",
    ("There are no patterns in scopes, audiences, resources and values of headers.", "Scopes are separated by blanks, not by commas."),
    "List the values one by one. If the character itself is meant, accept the notice: # exchanger: ignore POL-1903.",
    policy(action="exchange", more='exchange: {issuerRef: primary, scope: "read,write"}'),
    severity=Severity.NOTICE,
)
UNKNOWN_METHOD: Final = Code(
    "POL-1904",
    "A method is not a registered HTTP method, and resembles one that is.",
    ("The method is misspelt. The entry then covers no request with the method that was meant.",),
    "Correct the method. If a server has this method, accept the warning: # exchanger: ignore POL-1904.",
    policy(match="methods: [DELTE]"),
    severity=Severity.WARNING,
)
HOST_PORT: Final = Code(
    "POL-1905",
    "host has a port, and the entry covers the host on every port.",
    ("The host was copied from a URL or from a Host header.", "The entry was meant for one port. No field of a match limits the port."),
    "Remove the port: the entry covers the same requests without it. To separate ports, give each its own host name at the gateway.",
    policy(host="api.example.com:8443"),
    severity=Severity.WARNING,
)
NO_ENTRIES: Final = Code(
    "POL-1906",
    "entries is there, but has no value (null), so the policy decides nothing.",
    ("The lines below it were commented out or removed.", "A template rendered to nothing."),
    "Write the entries, [] for none on purpose, or delete the ConfigMap.",
    "version: v1\nentries:\n",
    severity=Severity.NOTICE,
)
