"""A mock-oauth2-server on loopback: it signs tokens with whatever claims it is told to, and verifies little. Blocking code.

Source: https://github.com/navikt/mock-oauth2-server#json_config
"""

import contextlib
import json
import os
import shutil
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from tests.e2e.java import find_java_tool, running_server
from tests.ports import free_port

MAIN: Final = "no.nav.security.mock.oauth2.StandaloneMockOAuth2ServerKt"
JAVA: Final = ("-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
ISSUER: Final = "logins"


def mapping(claims: Mapping[str, object], match: str = "*", parameter: str = "grant_type") -> dict[str, object]:
    """Return what says which claims a token gets where ``parameter`` is ``match``; ``${name}`` in them is a parameter's value."""
    return {"requestParam": parameter, "match": match, "claims": dict(claims)}


@contextlib.contextmanager
def running_mock_oauth2(folder: Path, mappings: Sequence[Mapping[str, object]]) -> Generator[str]:
    """Run a server, and yield its issuer; the first of ``mappings`` that matches counts."""
    jars, port, config = find_java_tool("mock-oauth2-server"), free_port(), folder / "mock-oauth2.json"
    callbacks = [{"issuerId": ISSUER, "tokenExpiry": 300, "requestMappings": list(mappings)}]
    config.write_text(json.dumps({"interactiveLogin": False, "httpServer": "NettyWrapper", "tokenCallbacks": callbacks}))
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else shutil.which("java") or "java"
    settings = {"SERVER_HOSTNAME": "127.0.0.1", "SERVER_PORT": str(port), "JSON_CONFIG_PATH": str(config)}
    url = f"http://127.0.0.1:{port}"
    command = (java, *JAVA, "-cp", f"{jars}/*", MAIN)
    with running_server("mock-oauth2-server", command, {**os.environ, **settings}, folder / "mock-oauth2.log", f"{url}/isalive"):
        yield f"{url}/{ISSUER}"


def log_in(issuer: str, user: str) -> str:
    """Return a token that ``user`` gets."""
    form = {"grant_type": "password", "username": user, "password": "any", "scope": "openid"}
    answer: Any = httpx.post(f"{issuer}/token", data=form, auth=("app", "any"), trust_env=False).json()
    token: str = answer["access_token"]
    return token
