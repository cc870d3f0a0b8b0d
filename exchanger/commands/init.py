"""``exchanger init``: writes a policy, an issuer profile and tests to start from, with comments that say what to change.

Must not know: what a policy means. ``exchanger check`` and ``exchanger test`` accept what is written.
"""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from exchanger.commands.arguments import one_of
from exchanger.model.authority import is_host, normalise_policy_host
from exchanger.util.regular_file import unreadable
from exchanger.util.text import bounded, printable

_WRITTEN: Final = 0
_FAILED: Final = 1
_EXISTS: Final = 2
_LABEL: Final = "ext-authz-token-exchange.magneticflux.net"
_is_namespace: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?").fullmatch

_POLICY: Final = f"""\
# The Namespace needs the first label, the ConfigMap the second one. Without them, no policy is active.
apiVersion: v1
kind: Namespace
metadata:
  name: NAMESPACE
  labels: {{{_LABEL}/policy: enabled}}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: policy
  namespace: NAMESPACE
  labels: {{{_LABEL}/enabled: "true"}}
data:
  config.yaml: |
    version: v1
    entries:
"""

_ISSUERS: Final = """\
# The platform team's file: the service reads it from TOKEN_EXCHANGE_ISSUER_PROFILES_FILE, the chart from issuerProfiles.profiles.
issuers:
  - name: primary                                # policies name it in issuerRef
    tokenEndpoint: https://login.example.com/token
    clientID: exchanger
    clientSecretSecretRef: {name: exchanger-client, key: secret, namespace: gateway}
    # Outside Kubernetes, instead of the line above: clientSecretFile: /etc/exchanger/secrets/client-secret
"""

# The entries and the tests of each use case. Entries are indented as in the ConfigMap.
_ENTRIES: Final[Mapping[str, tuple[str, str, str]]] = {
    "rest": (
        "orders.example.com",
        """\
      # Reading orders: callers' tokens are exchanged for tokens that only the orders API accepts.
      - match: {host: HOST, pathPrefix: /orders, pathType: Segment, methods: [GET]}
        action: exchange
        exchange: {issuerRef: primary, scope: "read:orders", audiences: [orders-api]}
      # Changing them needs more rights.
      - match: {host: HOST, pathPrefix: /orders, pathType: Segment, methods: [POST, PUT, PATCH, DELETE]}
        action: exchange
        exchange: {issuerRef: primary, scope: "write:orders", audiences: [orders-api]}
      # A longer prefix wins, so nobody reaches this part.
      - match: {host: HOST, pathPrefix: /orders/internal, pathType: Segment}
        action: deny
      # Everything else on the host. Without it, other paths pass with the caller's own token.
      - match: {host: HOST, pathPrefix: /}
        action: deny
""",
        """\
  - request: {method: GET, url: "https://HOST/orders/1"}
    expect: {decision: exchange, scope: "read:orders", audiences: [orders-api]}
  - request: {method: POST, url: "https://HOST/orders"}
    expect: {decision: exchange, scope: "write:orders"}
  - request: {method: GET, url: "https://HOST/orders/internal"}
    expect: {decision: deny}
  - request: {method: GET, url: "https://HOST/orders/%69nternal"}
    expect: {decision: refused} # servers read it as /orders/internal
  - request: {method: GET, url: "https://HOST/"}
    expect: {decision: deny}
""",
    ),
    "mcp": (
        "mcp.example.com",
        """\
      # One tool needs more rights than the others. Clients of newer protocol revisions name it in headers.
      # Other paths of the host pass unchanged, metadata among them, so the notice about these is ignored.
      - match: # exchanger: ignore POL-2108
          host: HOST
          pathPrefix: /mcp
          pathType: Segment
          headers: [{name: Mcp-Method, value: tools/call}, {name: Mcp-Name, value: delete_order}]
        action: exchange
        exchange:
          issuerRef: primary
          scope: orders.delete
          audiences: [orders-mcp]
          resourceMetadata: https://HOST/.well-known/oauth-protected-resource/mcp
      # Every other request, so it has the fewest rights. A 401 names resourceMetadata, where clients learn how to sign in.
      - match: {host: HOST, pathPrefix: /mcp, pathType: Segment}
        action: exchange
        exchange:
          issuerRef: primary
          scope: orders.read
          audiences: [orders-mcp]
          resourceMetadata: https://HOST/.well-known/oauth-protected-resource/mcp
""",
        """\
  - request: {method: POST, url: "https://HOST/mcp", headers: {Mcp-Method: tools/call, Mcp-Name: delete_order}}
    expect: {decision: exchange, scope: orders.delete, audiences: [orders-mcp]}
  - request: {method: POST, url: "https://HOST/mcp"}
    expect: {decision: exchange, scope: orders.read}
  - request: {method: POST, url: "https://HOST/mcp", headers: {Authorization: ""}}
    expect: {decision: refused} # 401, with the address of the metadata
  - request: {method: GET, url: "https://HOST/.well-known/oauth-protected-resource/mcp"}
    expect: {decision: unmatched} # passes unchanged, so that clients without a token can read it
""",
    ),
    "deny": (
        "shop.example.com",
        """\
      # Nobody reaches these from outside. Everything else on the host passes unchanged, so the notice about that is ignored.
      - match: {host: HOST, pathPrefix: /admin, pathType: Segment} # exchanger: ignore POL-2108
        action: deny
      # Servers that ignore case find it under any spelling.
      - match: {host: HOST, pathPrefix: /metrics, pathType: Segment, caseInsensitive: true}
        action: deny
      # Only some methods.
      - match: {host: HOST, pathPrefix: /catalogue, pathType: Segment, methods: [PUT, DELETE]}
        action: deny
""",
        """\
  - request: {method: GET, url: "https://HOST/admin/users"}
    expect: {decision: deny}
  - request: {method: GET, url: "https://HOST/Metrics"}
    expect: {decision: deny}
  - request: {method: DELETE, url: "https://HOST/catalogue/1"}
    expect: {decision: deny}
  - request: {method: GET, url: "https://HOST/catalogue/1"}
    expect: {decision: unmatched}
  - request: {method: GET, url: "https://HOST/catalogue/..%2fadmin"}
    expect: {decision: refused} # some servers read it as /admin
""",
    ),
    "wildcard": (
        "apps.example.com",
        """\
      # Every host below HOST, with one or more labels, but not HOST itself.
      - match: {host: "*.HOST", pathPrefix: /api, pathType: Segment}
        action: exchange
        exchange: {issuerRef: primary, scope: api, audiences: [apps]}
      - match: {host: "*.HOST", pathPrefix: /}
        action: deny
      # An exact host comes before a wildcard, and its entries decide where they cover the request.
      - match: {host: status.HOST, pathPrefix: /api, pathType: Segment}
        action: deny
""",
        """\
  - request: {method: GET, url: "https://billing.HOST/api/1"}
    expect: {decision: exchange, scope: api}
  - request: {method: GET, url: "https://eu.billing.HOST/api/1"}
    expect: {decision: exchange, scope: api}
  - request: {method: GET, url: "https://status.HOST/api/1"}
    expect: {decision: deny}
  - request: {method: GET, url: "https://billing.HOST/"}
    expect: {decision: deny}
  - request: {method: GET, url: "https://HOST/api/1"}
    expect: {decision: unmatched}
""",
    ),
}
USE_CASES: Final = tuple(_ENTRIES)


_USE_CASES: Final = (
    "rest (an API with other scopes for reading and writing), mcp (an MCP server), deny (close some paths), wildcard (all hosts below one)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("use_case", type=one_of(*USE_CASES), metavar="USE_CASE", help=_USE_CASES)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="FOLDER", help="where to write (default: here)")
    parser.add_argument("--host", type=_host, help="the host at the gateway (default: an example)")
    parser.add_argument("--namespace", type=_namespace, default="team-orders", help="the team's Namespace (default: %(default)s)")


def _host(text: str) -> str:
    host = normalise_policy_host(text)
    if not is_host(host) or host.startswith("["):
        raise argparse.ArgumentTypeError(f"{bounded(text)!r} is not a host name")
    return host


def _namespace(text: str) -> str:
    if not _is_namespace(text):
        raise argparse.ArgumentTypeError(f"{bounded(text)!r} cannot be the name of a Namespace")
    return text


def files_for(use_case: str, host: str | None = None, namespace: str = "team-orders") -> dict[str, str]:
    """Return the text of each file, by its name."""
    example, entries, tests = _ENTRIES[use_case]
    chosen = host or example

    def filled(text: str) -> str:
        return text.replace("NAMESPACE", namespace).replace("HOST", chosen)

    return {
        "policy.yaml": filled(_POLICY + entries),
        "issuers.yaml": _ISSUERS,
        "tests.yaml": filled(
            f'# What the policy is meant to do: exchanger test compares. Authorization "" is a request without a token.\ntests:\n{tests}'
        ),
    }


def run(namespace: argparse.Namespace) -> int:
    """Write the files unless one exists, say what to do next, and return the exit status."""
    files = files_for(namespace.use_case, namespace.host, namespace.namespace)
    folder: Path = namespace.folder
    existing = [name for name in files if (folder / name).exists()]
    if existing:
        sys.stderr.write(f"exchanger init: {printable(str(folder))} already has {', '.join(existing)}; nothing was written\n")
        return _EXISTS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except (OSError, ValueError) as error:  # a path with a NUL
        sys.stderr.write(f"exchanger init: {printable(str(folder))} {unreadable(error)}\n")
        return _FAILED
    policy, issuers, tests = (printable(str(folder / name)) for name in files)
    sys.stdout.write(
        f"wrote {policy}, {issuers} and {tests}\n\n"
        "Change hosts, paths and scopes to yours, then:\n"
        f"  exchanger check {policy} --issuers {issuers}\n"
        f"  exchanger test {tests} --policy {policy} --issuers {issuers}\n"
    )
    return _WRITTEN
