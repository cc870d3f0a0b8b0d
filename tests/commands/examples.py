"""A policy in manifests, its grants and issuers, for the tests of the tools."""

from pathlib import Path

LABEL = 'ext-authz-token-exchange.magneticflux.net/enabled: "true"'
ORDERS = """\
      - match: {host: orders.example.com, pathPrefix: /orders, methods: [GET]}
        action: exchange
        exchange: {issuerRef: primary, scope: read:orders list, audiences: [orders-api]}
      - match: {host: orders.example.com, pathPrefix: /orders/admin}
        action: deny
      - match: {host: "*.example.com", pathPrefix: /mcp, headers: [{name: Mcp-Name, value: drop}]}
        action: deny
"""
ISSUERS = """\
issuers:
  - {name: primary, tokenEndpoint: https://login.example.com/token, clientID: exchanger, clientSecret: not-a-secret-of-anybody}
"""
GRANTS = """\
version: v1
grants:
  - namespaces: [team-orders]
    hosts: ["*.example.com"]
    actions: [exchange, deny, allow]
    issuers: [primary]
    scopes: ["*"]
    audiences: ["*"]
baseline:
  - match: {host: "*.example.com", pathPrefix: /internal}
    action: deny
"""


def config_map(entries: str = ORDERS, namespace: str = "team-orders", name: str = "orders", label: str = LABEL) -> str:
    """Return the manifest of a ConfigMap with ``entries``, which are indented by six."""
    return f"""\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{{label}}}
data:
  config.yaml: |
    version: v1
    entries:
{entries}"""


def namespace(name: str = "team-orders", label: str = "ext-authz-token-exchange.magneticflux.net/policy: enabled") -> str:
    """Return the manifest of a Namespace."""
    return f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{label}}}}}\n"


def written(folder: Path, name: str, text: str) -> str:
    """Write a file, and return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)
