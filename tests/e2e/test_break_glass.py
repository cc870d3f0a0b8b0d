"""The ways of docs/runbooks/break-glass.md to close and to open, tried with a running service."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.e2e.collector import recording, wait_until
from tests.e2e.service import DOCUMENT, SERVE, Service, config_map, serving
from tests.monitoring.sources import RUNBOOKS, values

PAGE: Final = (RUNBOOKS / "break-glass.md").read_text()
GRANTS: Final = """
version: v1
grants: [{namespaces: [team, other], hosts: ["*"], issuers: ["*"], scopes: ["*"], actions: [exchange, deny, allow]}]
"""
TOKEN: Final = {
    "access_token": "canary-exchanged",
    "token_type": "Bearer",
    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    "expires_in": 3600,
}


def block(name: str) -> str:
    found = re.search(rf"<!-- break-glass: {name} -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def answer(service: Service, path: str, host: str = "api.example.com") -> int:
    response = service.check(path, host=host, authorization="Bearer canary-subject")
    return 200 if response.WhichOneof("http_response") == "ok_response" else response.denied_response.status.code


def becomes(service: Service, expected: int, path: str, host: str = "api.example.com") -> None:
    wait_until(lambda: answer(service, path, host) == expected, service.lines)


def test_a_baseline_closes_everything_and_opens_it_again(tmp_path: Path) -> None:
    grants = tmp_path / "grants.yaml"
    grants.write_text(GRANTS)
    with serving(tmp_path, DOCUMENT, None, SERVE, POLICY_GRANTS_FILE=str(grants)) as service:
        before = [answer(service, path, host) for path, host in (("/public", "api.example.com"), ("/", "elsewhere.example"))]
        assert before == [200, 200]
        grants.write_text(GRANTS + block("everything"))
        becomes(service, 403, "/public")
        assert [answer(service, "/orders"), answer(service, "/", "elsewhere.example")] == [403, 403]
        assert service.line_about("/public")["policy"] == "/baseline"
        grants.write_text(GRANTS)
        becomes(service, 200, "/public")


@pytest.mark.full
def test_a_baseline_closes_one_path_that_a_policy_allows(tmp_path: Path) -> None:
    grants, document = (
        tmp_path / "grants.yaml",
        DOCUMENT.replace("pathPrefix: /admin}\n    action: deny", "pathPrefix: /admin/x}\n    action: allow"),
    )
    grants.write_text(GRANTS)
    with serving(tmp_path, document, None, SERVE, POLICY_GRANTS_FILE=str(grants)) as service:
        assert answer(service, "/admin/x") == 200
        grants.write_text(GRANTS + block("host"))
        becomes(service, 403, "/admin/x")
        assert [answer(service, "/admin"), answer(service, "/administration"), answer(service, "/admin", "www.example.com")] == [
            403,
            200,
            200,
        ]


@pytest.mark.full
def test_denying_unmatched_requests_closes_what_no_policy_covers(tmp_path: Path) -> None:
    with serving(tmp_path, DOCUMENT, None, SERVE, TOKEN_EXCHANGE_DEFAULT_DENY_UNMATCHED="true") as service:
        assert [answer(service, "/public"), answer(service, "/", "elsewhere.example")] == [403, 403]


@pytest.mark.full
def test_a_withdrawn_policy_opens_one_team(tmp_path: Path) -> None:
    with serving(tmp_path, DOCUMENT, None, SERVE, POLICY_REQUIRED="true") as service:
        other = "version: v1\nentries: [{match: {host: other.example.com, pathPrefix: /}, action: deny}]"
        (service.folder / "other.yaml").write_text(config_map(other, "other"))
        becomes(service, 403, "/", "other.example.com")
        assert answer(service, "/admin") == 403
        (service.folder / "policy.yaml").rename(tmp_path / "aside.yaml")
        becomes(service, 200, "/admin")
        assert answer(service, "/", "other.example.com") == 403
        (service.folder / "other.yaml").unlink()
        becomes(service, 500, "/admin")  # nothing is left, which POLICY_REQUIRED refuses
        (tmp_path / "aside.yaml").rename(service.folder / "policy.yaml")
        becomes(service, 403, "/admin")


@pytest.mark.full
def test_without_its_cache_an_issuer_is_asked_for_each_request(tmp_path: Path) -> None:
    with recording(lambda _got: (200, "application/json", json.dumps(TOKEN).encode())) as tokens:
        profile = f'{{name: primary, tokenEndpoint: "{tokens.url}/token", clientID: c, clientSecret: s'
        (tmp_path / "issuers.yaml").write_text(f"issuers: [{profile}, cache: {{maxTTL: 5m, maxEntries: 10}}}}]\n")
        with serving(tmp_path, DOCUMENT, None, SERVE, TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT="true") as service:
            assert [answer(service, "/orders") for _ in range(3)] == [200] * 3
            assert len(tokens.requests) == 1
            (tmp_path / "issuers.yaml").write_text(f"issuers: [{profile}}}]\n")
            asked: Callable[[], bool] = lambda: answer(service, "/orders") == 200 and len(tokens.requests) > 2  # noqa: E731
            wait_until(asked, service.lines)


def set_values() -> list[tuple[str, Any]]:
    """Return the values that ``upgrade`` sets on any page of the runbooks."""
    found: list[tuple[str, Any]] = []
    for page in RUNBOOKS.glob("*.md"):
        for path, value in re.findall(r"upgrade --set(?:-json)? '?([\w.]+)=([^`\n]*?)'?(?=`|\n| +#)", page.read_text()):
            found.append((path, yaml.safe_load(value)))
    return found


@pytest.mark.parametrize(("path", "value"), set_values(), ids=str)
def test_a_value_that_a_page_sets_is_one_of_the_chart(path: str, value: object) -> None:
    node: Any = values()
    for name in path.split("."):
        if node == {}:  # free content, such as the grants file
            return
        assert name in node
        node = node[name]
    assert isinstance(value, type(node))
