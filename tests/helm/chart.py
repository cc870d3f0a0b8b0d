"""Renders a chart with values as users give them, and returns what Kubernetes would get. Blocking code."""

import json
import pickle
import re
import subprocess
import tempfile
from base64 import b64decode
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import kubernetes_validate  # type: ignore[import-untyped]
import yaml

from tests.tools import find_tool

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "helm" / "exchanger"
# Seconds. One rendering takes a tenth on an idle machine; hundreds of values files at once take half a minute on a busy one.
RENDER_S: Final = 300.0
# Every rendering begins with these values: without the name of an image, the charts render nothing.
IMAGE: Final = {"image": {"repository": "exchanger"}}
# The version that charts are rendered for.
KUBERNETES: Final = "1.37.0"

# Most runs of a Go program end before it is worth while to collect garbage, and none may take all memory.
BRIEF: Final = {"GOGC": "off", "GOMEMLIMIT": "512MiB"}

# The newest version that the schemas of manifests know.
NEWEST: Final = "1.37"
# The groups of kinds that Kubernetes does not have itself; test_wiring_control_plane.py gives them to an API server.
OTHER_GROUPS: Final = frozenset(
    {"cert-manager.io", "gateway.envoyproxy.io", "gateway.networking.k8s.io", "monitoring.coreos.com", "networking.gke.io"}
    | {"networking.istio.io", "security.istio.io"}
)

# The library would read its definitions, which are megabytes, anew for each manifest.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)

Manifest = dict[str, Any]


class RenderError(Exception):
    """What helm said instead of rendering."""


def run_helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run helm without anything of the user's own; its status is the caller's to look at.

    Where it renders, it gets ``IMAGE`` before all other values.
    """
    with tempfile.TemporaryDirectory() as home:
        if arguments[0] in {"template", "lint", "install", "upgrade"}:
            image = Path(home) / "image.yaml"
            image.write_text(yaml.safe_dump(IMAGE))
            arguments = (arguments[0], "--values", image, *arguments[1:])
        places = {f"HELM_{kind}_HOME": home for kind in ("CACHE", "CONFIG", "DATA")}
        environment = {"HOME": home, "PATH": "/usr/bin:/bin", **BRIEF, **places}
        return subprocess.run(
            (find_tool("helm"), *arguments), capture_output=True, text=True, timeout=RENDER_S, check=False, env=environment, cwd=home
        )


def render(
    values: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (),
    *,
    chart: Path = CHART,
    release: str = "exchanger",
    namespace: str = "edge",
    kubernetes: str = KUBERNETES,
    arguments: Sequence[str] = (),
) -> list[Manifest]:
    """Return the manifests of ``chart`` with ``values``, or with several of them as from several files; test hooks are among them.

    Raises:
        RenderError: helm refused, with what it said; what it says beside manifests (warnings) is refused here too.
    """
    return parsed(rendered_text(values, chart, release, namespace, kubernetes, arguments))


def rendered_text(
    values: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (),
    chart: Path = CHART,
    release: str = "exchanger",
    namespace: str = "edge",
    kubernetes: str = KUBERNETES,
    arguments: Sequence[str] = (),
) -> str:
    """Return the same as text, with a comment above each manifest that names its template."""
    files = [values] if isinstance(values, Mapping) else list(values)
    run = key(files, chart, release, namespace, kubernetes, arguments)
    if run not in RENDERED:
        RENDERED[run] = _template(files, chart, release, namespace, kubernetes, arguments)
    said, problem = RENDERED[run]
    if problem:
        raise RenderError(problem)
    return said


def key(files: Sequence[Mapping[str, Any]], *options: object) -> str:
    """Return what tells a run of helm from others."""
    return json.dumps((files, *map(str, options)), sort_keys=True)


# What helm has said, and its problem, if any: each run is a process, and a chart in the checkout does not change meanwhile.
RENDERED: Final[dict[str, tuple[str, str]]] = {}


def _template(
    files: Sequence[Mapping[str, Any]], chart: Path, release: str, namespace: str, kubernetes: str, arguments: Sequence[str]
) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        options: list[str] = []
        for number, content in enumerate(files):
            path = Path(folder) / f"{number}.yaml"
            path.write_text(yaml.dump(dict(content), Dumper=yaml.CSafeDumper, allow_unicode=True))
            options += ["--values", str(path)]
        done = run_helm(
            "template", release, chart, "--namespace", namespace, "--kube-version", kubernetes, "--include-crds", *options, *arguments
        )
    return done.stdout, done.stderr if done.returncode or done.stderr.strip() else ""


def parsed(text: str) -> list[Manifest]:
    """Return the manifests in ``text``, in a form of their own that callers may change."""
    documents = (pickle.loads(_pickled(document)) for document in re.split(r"^---$", text, flags=re.MULTILINE))
    return [document for document in documents if document is not None]


@cache  # most manifests are the same in most renderings
def _pickled(document: str) -> bytes:
    return pickle.dumps(yaml.load(document, yaml.CSafeLoader))


def refusal(values: Mapping[str, Any], **options: Any) -> str:
    """Return why helm refuses ``values``; fail when it renders them."""
    try:
        found = render(values, **options)
    except RenderError as error:
        return str(error)
    raise AssertionError(f"rendered {len(found)} manifests instead of refusing {dict(values)}")


def notes(chart: Path, release: str, namespace: str, values: Mapping[str, Any]) -> str:
    """Return NOTES.txt; helm renders them for an installation only, so that it tries one here, without a cluster."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "values.yaml"
        path.write_text(yaml.safe_dump(dict(values)))
        done = run_helm("install", release, chart, "--namespace", namespace, "--dry-run=client", "--values", path)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:")[2]


def validate(manifest: Manifest, version: str = NEWEST) -> None:
    """Hold a manifest against Kubernetes' schemas, unless it is of a kind that somebody else defines."""
    if manifest["apiVersion"].split("/")[0] not in OTHER_GROUPS:
        _validate(json.dumps(manifest), version)


@cache
def _validate(manifest: str, version: str) -> None:
    kubernetes_validate.validate(json.loads(manifest), version, strict=True)


def of_kind(manifests: Sequence[Manifest], kind: str) -> list[Manifest]:
    """Return the manifests of ``kind``, without ``helm test`` hooks."""
    return [found for found in manifests if found["kind"] == kind and "helm.sh/hook" not in (found["metadata"].get("annotations") or {})]


def secret_texts(manifest: Manifest) -> dict[str, str]:
    """Return what a Secret holds, by key: what ``data`` has in base64, and what ``stringData`` has as it is."""
    encoded: Mapping[str, str] = manifest.get("data") or {}
    return {**{key: b64decode(text).decode() for key, text in encoded.items()}, **(manifest.get("stringData") or {})}


def only(manifests: Sequence[Manifest], kind: str, name: str | None = None) -> Manifest:
    """Return the only manifest of ``kind`` (with ``name``)."""
    found = [manifest for manifest in of_kind(manifests, kind) if name is None or manifest["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} of kind {kind}: {[manifest['metadata']['name'] for manifest in found]}"
    return found[0]
