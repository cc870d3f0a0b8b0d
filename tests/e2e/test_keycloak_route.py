"""Keycloak as the demo's chart runs it behind a gateway that ends TLS: users log in there, and the service asks at its Service."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from exchanger.commands.demo.token_endpoint.rules import ACCESS_TOKEN_TYPE
from exchanger.formats.jwt.unverified import claims_of
from exchanger.policy.selection import DOCUMENT_KEY
from tests.e2e.keycloak import ADMIN_PASSWORD, running_keycloak
from tests.helm.chart import only, secret_texts
from tests.helm.rendered_demo import demo, pods

pytestmark = [pytest.mark.full, pytest.mark.keycloak, pytest.mark.helm, pytest.mark.slow]

PUBLIC: Final = "https://id.example.com"
VALUES: Final = {"keycloak": {"enabled": True, "url": PUBLIC, "route": {"enabled": True}}}
REALM: Final = "/realms/exchanger-demo"
TOKENS: Final = "protocol/openid-connect/token"
# What a gateway adds to requests that it forwards.
FORWARDED: Final = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "id.example.com", "X-Forwarded-For": "203.0.113.7"}


@contextmanager
def keycloak_of_the_chart(folder: Path) -> Iterator[httpx.Client]:
    """Run Keycloak with the realm and the variables that the chart gives it, except for ports and the development mode."""
    manifests = demo(VALUES)
    (container,) = pods(manifests)["keycloak"]["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    settings = f"--proxy-headers={variables['KC_PROXY_HEADERS']}"
    (realm,) = secret_texts(only(manifests, "Secret", "keycloak-realm")).values()
    with (
        running_keycloak(folder, settings, hostname=variables["KC_HOSTNAME"]) as keycloak,
        httpx.Client(base_url=str(keycloak.address), trust_env=False, timeout=60) as client,
    ):
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": ADMIN_PASSWORD}
        token = client.post(f"/realms/master/{TOKENS}", data=form).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        assert client.post("/admin/realms", content=realm, headers=headers).status_code == 201
        yield client


def exchanged(client: httpx.Client, token: str, **target: Any) -> Any:
    """Return the claims of what ``token`` is exchanged for, or the error."""
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": token, **target}
    form |= {"subject_token_type": ACCESS_TOKEN_TYPE}
    answer = client.post(f"{REALM}/{TOKENS}", data=form, auth=("exchanger", "exchanger-of-the-demo")).json()
    return claims_of(answer["access_token"]) if "access_token" in answer else answer["error"]


def test_a_token_from_the_keycloak_route_is_exchanged_with_and_without_resource(tmp_path: Path) -> None:
    policy = yaml.safe_load(only(demo(VALUES), "ConfigMap", "keycloak-policy")["data"][DOCUMENT_KEY])
    plain, with_resource, refused = (entry["exchange"] for entry in policy["entries"])
    with keycloak_of_the_chart(tmp_path) as client:
        form = {"grant_type": "password", "client_id": "app", "username": "alice", "password": "alice-of-the-demo"}
        token = client.post(f"{REALM}/{TOKENS}", data=form, headers=FORWARDED).json()["access_token"]
        for target in ({"audience": plain["audiences"]}, {"audience": with_resource["audiences"], "resource": with_resource["resources"]}):
            claims = exchanged(client, token, **target)
            assert (claims["iss"], claims["aud"]) == (f"{PUBLIC}{REALM}", "orders-api")
        assert exchanged(client, token, audience=refused["audiences"]) == "invalid_request"
        # What the load balancer's health check asks for.
        assert client.get(REALM).status_code == 200
