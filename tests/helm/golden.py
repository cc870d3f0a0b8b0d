"""Renderings of the charts that are recorded in ``golden/``, one file for each values file of ``settings.yaml``.

``python -m tests.helm.golden`` records them anew; what changes is then read in the diff. Each rendering is recorded beside another one, its
base: manifests that the base does not have as they are, changed ones as differences, and the names of missing ones.
"""

import difflib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import attrs
import yaml

from exchanger import __version__
from tests.helm.cases import SETTINGS, WIRINGS
from tests.helm.chart import CHART, Manifest, render
from tests.helm.rendered_cluster import DEMO_CHART

FOLDER: Final = Path(__file__).with_name("golden")


def place(chart: Path) -> dict[str, Any]:
    """Return of which chart, and where, recordings are."""
    release, namespace = ("exchanger", "edge") if chart == CHART else ("demo", "demo")
    return {"chart": chart, "release": release, "namespace": namespace}


@attrs.frozen
class Golden:
    """What is recorded of ``chart`` with ``values``."""

    chart: Path
    name: str
    values: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.chart.name}: {self.name}"

    @property
    def file(self) -> Path:
        """Where it is recorded."""
        return FOLDER / self.chart.name / f"{re.sub('[^a-z0-9]+', '-', self.name)}.yaml"

    def manifests(self) -> list[Manifest]:
        """Return what helm makes of it now."""
        return render(self.values, **place(self.chart))

    def base(self) -> "Golden | None":
        """Return the rendering that this one is recorded beside."""
        return next((golden for golden in GOLDEN if golden.chart == self.chart and golden.name == BASES.get(self.name, "defaults")), None)

    def text(self) -> str:
        """Return what would be recorded now."""
        base = self.base()
        found, usual = _texts(self), {} if base is None or base == self else _texts(base)
        parts = [f"# missing: {name}\n" for name in sorted(usual.keys() - found.keys())]
        for name in sorted(found):
            if name not in usual:
                parts.append(f"---\n{found[name]}")
            elif found[name] != usual[name]:
                lines = list(difflib.unified_diff(usual[name].splitlines(), found[name].splitlines(), lineterm="", n=2))[2:]
                parts.append(
                    f"---\nchanged: {name}\ndiff: |\n" + "".join(f"  {re.sub('^@@.*', '@@', line)}".rstrip() + "\n" for line in lines)
                )
        return re.sub(rf"(?<![\w.]){re.escape(__version__)}(?![\w.])", "VERSION", "".join(parts))


def _texts(golden: Golden) -> dict[str, str]:
    return {" ".join(filter(None, identity(one))): _text(json.dumps(_settled(one))) for one in golden.manifests()}


@cache  # most manifests are in most renderings
def _text(manifest: str) -> str:
    return yaml.dump(json.loads(manifest), Dumper=yaml.CSafeDumper, width=120, allow_unicode=True)


def identity(manifest: Manifest) -> tuple[str, str, str]:
    """Return what no two manifests have in common."""
    return manifest["kind"], manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]


def _settled(manifest: Manifest) -> Manifest:
    """Return ``manifest`` without what is made anew each time: the keys and certificates of a TLS Secret, and their authority."""
    if manifest.get("type") == "kubernetes.io/tls":
        return {**manifest, "data": dict.fromkeys(manifest["data"], "made anew")}
    if manifest["kind"] == "ValidatingWebhookConfiguration" and (webhook := manifest["webhooks"][0])["clientConfig"].get("caBundle"):
        return {**manifest, "webhooks": [{**webhook, "clientConfig": {**webhook["clientConfig"], "caBundle": "made anew"}}]}
    return manifest


BASES: Final[Mapping[str, str]] = {
    "keycloak with a route": "closed",
    "reference with its liveness": "reference",
    "wiring, envoy gateway with tls only": "wiring, envoy gateway with tls",
    **{f"wiring, {name}": "wiring, gke" for name in WIRINGS if name.startswith("gke") and name != "gke"},
    "wiring, istio's filter, elsewhere": "wiring, istio's filter",
    "wiring, istio's provider with a headless host": "wiring, istio's provider with a host",
}
GOLDEN: Final = (
    *(Golden(CHART, name, values) for name, values in SETTINGS["service"].items()),
    *(Golden(CHART, f"wiring, {name}", values) for name, values in WIRINGS.items()),
    *(Golden(DEMO_CHART, name, values) for name, values in SETTINGS["demo"].items()),
)


def main() -> None:
    """Record everything anew."""
    for golden in GOLDEN:
        golden.file.parent.mkdir(parents=True, exist_ok=True)
        golden.file.write_text(golden.text())
    for file in FOLDER.rglob("*.yaml"):
        if file not in {golden.file for golden in GOLDEN}:
            file.unlink()


if __name__ == "__main__":
    main()
