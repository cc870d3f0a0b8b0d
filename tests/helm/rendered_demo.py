"""The demo's chart as tests render it."""

from collections.abc import Mapping
from typing import Any, Final

import yaml

from tests.helm.cases import with_value
from tests.helm.chart import Manifest, of_kind, render, secret_texts
from tests.helm.rendered_cluster import DEMO_CHART

TEAMS: Final = ("yellow", "red", "blue")
KEYCLOAK: Final = {"keycloak": {"enabled": True}}
ADMIN: Final = {"keycloak": {"enabled": True, "admin": {"password": "p"}}}


def demo(values: Mapping[str, Any] | None = None, namespace: str = "demo", **options: Any) -> list[Manifest]:
    return render(values or {}, chart=DEMO_CHART, release="demo", namespace=namespace, **options)


def opened(manifest: Manifest | None) -> Manifest | None:
    """Return a manifest with the documents in its data as what they are."""
    if manifest is None:
        return None
    data = {"data": secret_texts({"data": manifest.get("data")})} if manifest["kind"] == "Secret" else {}
    manifest = {**manifest, **data}
    return {**manifest, **{key: _documents(manifest[key]) for key in ("data", "stringData") if key in manifest}}


def _documents(data: Mapping[str, str]) -> dict[str, Any]:
    return {name: yaml.safe_load(text) if name.endswith((".yaml", ".json")) else text for name, text in data.items()}


def placed(values: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return ``values`` with ``value`` at ``path``, whose last part may have dots of its own where it is a label."""
    section, labels, name = path.partition("labels.")
    return with_value(values, f"{section}labels", {name: value}) if labels else with_value(values, path, value)


def pods(manifests: list[Manifest]) -> dict[str, Any]:
    return {found["metadata"]["name"]: found["spec"]["template"]["spec"] for found in of_kind(manifests, "Deployment")}
