"""The service as the demo starts it: through its documented environment, with issuer profiles and a policy folder.

``python -m exchanger.commands.demo.service`` is ``exchanger serve`` with a console that shows the claims of tokens. Only this starts such a
console: no setting and no variable enables it, so none can be left set by mistake. The tokens of a demo are worthless.
"""

import importlib.resources
import os
import re
import sys
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from exchanger.commands.demo.token_endpoint.chat import CHAT_ISSUER
from exchanger.commands.demo.token_endpoint.fake import CLIENT_SECRET
from exchanger.commands.demo.token_endpoint.rules import INTROSPECTION_PATH, MALFORMED_PATH, SLOW_PATH, TOKEN_PATH
from exchanger.commands.scenarios.client import LOOPBACK
from exchanger.commands.scenarios.tokens import CHAT_CLIENT_ID, CLIENT_ID

SERVICE_COMMAND = (sys.executable, "-m", "exchanger.commands.demo.service")

GRANTS_SCHEMA: Final = "grants.schema.json"
_TENANCY = importlib.resources.files("exchanger.commands.demo") / "tenancy"

# What a Python program needs to start where this one did. Nothing else is passed on except OTEL_ variables (see below): a proxy variable of
# the terminal would change the demo.
_INHERITED = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")


def base_environment() -> tuple[tuple[str, str], ...]:
    """Return the variables that every process of the demo inherits."""
    return tuple((name, os.environ[name]) for name in _INHERITED if name in os.environ)


def otel_environment() -> tuple[tuple[str, str], ...]:
    """Return the OTEL_ variables: whether and where everything in the demo exports its spans. Soon, since someone waits for them."""
    found = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
    return tuple(({"OTEL_BSP_SCHEDULE_DELAY": "500"} | found).items()) if found else ()


def service_environment(
    *,
    grpc_port: int,
    metrics_port: int,
    policy: Path,
    issuers: Path,
    grants: Path | None = None,
    console_port: int | None = None,
    http_authz: tuple[int, Path] | None = None,
) -> tuple[tuple[str, str], ...]:
    """Return the service's whole environment for these loopback ports, policy folder, issuer profiles and grants.

    Without ``grants`` there is no limit to what teams may do; without ``console_port`` there is no console. ``http_authz`` is the port
    where gateways ask over HTTP, and the file with the secret that they send.
    """
    console = () if console_port is None else (("CONSOLE_ADDRESS", f"{LOOPBACK}:{console_port}"),)
    return (
        *base_environment(),
        *console,
        *(() if grants is None else (("POLICY_GRANTS_FILE", str(grants)),)),
        *(() if http_authz is None else (("HTTP_AUTHZ_PORT", str(http_authz[0])), ("HTTP_AUTHZ_SECRET_FILE", str(http_authz[1])))),
        ("GRPC_HOST", LOOPBACK),
        ("GRPC_PORT", str(grpc_port)),
        ("LOG_DECISIONS", "all"),
        ("METRICS_ENABLED", "true"),
        ("METRICS_HOST", LOOPBACK),
        ("METRICS_PORT", str(metrics_port)),
        ("POLICY_DIRECTORY", str(policy)),
        ("POLICY_SOURCE", "directory"),
        ("PYTHONUNBUFFERED", "1"),
        ("TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT", "true"),
        ("TOKEN_EXCHANGE_ISSUER_PROFILES_FILE", str(issuers)),
    )


def sample_policy() -> list[Traversable]:
    """Return the sample policy's files: those of teams that make no mistakes, which need no grants."""
    packaged = importlib.resources.files("exchanger.commands.demo") / "policy"
    return sorted((file for file in packaged.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)


def wrong_policy() -> list[Traversable]:
    """Return the files of teams that make mistakes. Without ``sample_grants``, these mistakes affect all teams."""
    return [_TENANCY / "brown.yaml", _TENANCY / "orange.yaml"]


def violet_policy() -> Traversable:
    """Return the file of the team whose callers' tokens take another way: to a second issuer, or past a question about them."""
    return _TENANCY / "violet.yaml"


def sample_grants() -> str:
    """Return the text of the grants file, for all teams; an editor looks for its schema next to it, as ``GRANTS_SCHEMA``."""
    return re.sub(r"(?<=\$schema=)\S+", f"./{GRANTS_SCHEMA}", (_TENANCY / "grants.yaml").read_text("utf-8"), count=1)


def own_issuers(token_port: int) -> list[dict[str, str]]:
    """Return the issuer profiles of all teams but violet."""
    return [
        _issuer("demo", token_port, TOKEN_PATH),
        _issuer("demo-post", token_port, TOKEN_PATH, method="client_secret_post"),
        _issuer("demo-old-secret", token_port, TOKEN_PATH, secret="from-before-the-rotation"),  # noqa: S106 - wrong on purpose
        _issuer("demo-slow", token_port, SLOW_PATH),
        _issuer("demo-malformed", token_port, MALFORMED_PATH),
    ]


def violet_issuers(token_port: int, chat_port: int) -> list[dict[str, object]]:
    """Return the issuer profiles of team violet: for opaque tokens, and two chained issuers, of which the second is on ``chat_port``."""
    introspection = {"endpoint": f"http://{LOOPBACK}:{token_port}{INTROSPECTION_PATH}", "when": "always"}
    return [
        {**_issuer("demo-opaque", token_port, TOKEN_PATH), "subjectToken": {"introspection": introspection}, "errors": "strict"},
        {**_issuer("demo-login", token_port, TOKEN_PATH), "subjectToken": {"type": "urn:ietf:params:oauth:token-type:id_token"}},
        {
            **_issuer("demo-chat", chat_port, TOKEN_PATH),
            "clientID": CHAT_CLIENT_ID,
            "grantType": "jwt-bearer",
            "assertion": {"from": "demo-login", "audience": CHAT_ISSUER},
            "errors": "strict",
        },
    ]


def _issuer(name: str, port: int, path: str, *, method: str = "client_secret_basic", secret: str = CLIENT_SECRET) -> dict[str, str]:
    return {
        "name": name,
        "tokenEndpoint": f"http://{LOOPBACK}:{port}{path}",
        "bearerRealm": "exchanger-demo",
        "tokenEndpointAuthMethod": method,
        "clientID": CLIENT_ID,
        "clientSecret": secret,
    }


if __name__ == "__main__":
    from exchanger.app.serve import serve

    sys.exit(serve(console_shows_tokens=True))
