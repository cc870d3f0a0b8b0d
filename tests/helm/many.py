"""Renders a chart with many values files in one run of helm: as dependencies, under an alias each, of a chart that has nothing else.

Helm treats the values of a dependency as it treats those of the chart itself. One thing is not the same: the alias takes the place of the
chart's name, and is replaced by it again in what is returned; the dashboard's uid, which is a digest of it, is the same everywhere.
``IMAGE`` comes before each values file here too.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import yaml

from tests.helm.chart import IMAGE, KUBERNETES, run_helm

# Of equal length, and in no text of a chart.
ALIAS: Final = "one-of-many-{:04}"
SOURCE: Final = re.compile(r"^---\n# Source: many/charts/one-of-many-(\d{4})/.*\n", re.MULTILINE)
UID: Final = re.compile(r"\bexchanger-[0-9a-f]{16}\b")
# How helm says what the schema objects to, for each chart that it objects to.
REFUSED: Final = re.compile(r"^one-of-many-(\d{4}):\n((?:- .*\n?)+)", re.MULTILINE)


@attrs.frozen
class Rendered:
    """By the place of the values: the manifests as text, or if there are any, the objections of the schema."""

    texts: Mapping[int, str]
    objections: Mapping[int, str]


def with_image(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` with the image's name, unless they say what it is."""
    image = values.get("image", {})
    return {**values, "image": {**IMAGE["image"], **image} if isinstance(image, Mapping) else image}


def render_many(chart: Path, many: Sequence[Mapping[str, Any]], release: str, namespace: str) -> Rendered:
    """Return what helm makes of ``chart`` with each of ``many``; nothing is rendered when the schema refuses one of them.

    Raises:
        AssertionError: a template failed, with the values that it failed on.
    """
    aliases = [ALIAS.format(number) for number in range(len(many))]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "many"
        shutil.copytree(chart, place / "charts" / chart.name)
        dependencies = [{"name": chart.name, "version": "*", "alias": alias} for alias in aliases]
        about = {"apiVersion": "v2", "name": "many", "version": "0.0.0", "dependencies": dependencies}
        (place / "Chart.yaml").write_text(yaml.safe_dump(about))
        values = place / "given.yaml"
        values.write_text(json.dumps(dict(zip(aliases, map(with_image, many), strict=True))))  # which is YAML, and written at once
        done = run_helm("template", release, place, "--namespace", namespace, "--kube-version", KUBERNETES, "--values", values)
    objections = {int(found[1]): found[2] for found in REFUSED.finditer(done.stderr)}
    if done.returncode and not objections:
        culprit = re.search(r"one-of-many-(\d{4})", done.stderr)
        raise AssertionError(f"{many[int(culprit[1])] if culprit else ''}: {done.stderr}")
    _, *parts = SOURCE.split(done.stdout)
    texts = dict.fromkeys(range(len(many)) if not objections else (), "")
    for number, text in zip(parts[::2], parts[1::2], strict=True):
        texts[int(number)] += "---\n" + UID.sub("exchanger-uid", text.replace(ALIAS.format(int(number)), chart.name))
    return Rendered(texts, objections)
