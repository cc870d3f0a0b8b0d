"""Renders a chart with many values files in one run of helm: as dependencies, under an alias each, of a chart that has its templates.

Helm treats the values of a dependency as it treats those of the chart itself, and each template gets what it would get there; but files are
read, and the schema and the templates are parsed, once for all. The alias takes the place of the chart's name, and is replaced by it again
in what is returned. Before each values file come ``IMAGE`` and, where objects are named after the chart, its name.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs

from tests.helm.chart import CHART, IMAGE, KUBERNETES, RENDERED, key, refusal, run_helm

# Of equal length, and in no text of a chart.
ALIAS: Final = "one-of-many-{:04}"
NUMBER: Final = re.compile(r"one-of-many-(\d{4})")
BEGIN: Final = '{{- range $alias, $one := .Subcharts }}{{- $_ := set $one "Template" $.Template }}'
TEMPLATE: Final = """
---
# Source: {{ $alias }}/PATH
{{ include "many/PATH" $one | replace "\\n---" (printf "\\n---\\n# Source: %s/PATH" $alias) }}
"""
# What helm writes before each manifest, and the template above.
SOURCE: Final = re.compile(r"^---\n# Source: many/templates/all\.yaml\n\s*# Source: one-of-many-(\d{4})/(.*)\n\s*", re.MULTILINE)
# How ``helm lint`` says what ``fail`` said.
SAID: Final = re.compile(r'msg="funcMap fail" message=("(?:[^"\\]|\\.)*")')
# How helm says what the schema objects to.
OBJECTION: Final = re.compile(r"^ *- at '/one-of-many-(\d{4})(.*\n?)", re.MULTILINE)


@attrs.frozen
class Rendered:
    """By the place of the values: the manifests as text, or if there are any, the objections of the schema; and what else helm said."""

    texts: Mapping[int, str]
    objections: Mapping[int, str]
    warnings: str


class CulpritError(AssertionError):
    """A template failed, with the values that it failed on."""


def _given(chart: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` with what comes before them."""
    image = values.get("image", {})
    name = {"nameOverride": chart.name} if chart == CHART else {}
    return {**name, **values, "image": {**IMAGE["image"], **image} if isinstance(image, Mapping) else image}


def render_many(many: Sequence[Mapping[str, Any]], *, chart: Path = CHART, release: str = "exchanger", namespace: str = "edge") -> Rendered:
    """Return what helm makes of ``chart`` with each of ``many``; nothing is rendered when the schema refuses one of them.

    Raises:
        CulpritError: a template failed.
    """
    with _chart(chart, many) as (place, values):
        done = run_helm("template", release, place, "--namespace", namespace, "--kube-version", KUBERNETES, "--values", values)
    objections = _objections(done.stderr)
    if done.returncode and not objections:
        culprit = NUMBER.search(done.stderr)
        raise CulpritError(f"{many[int(culprit[1])] if culprit else ''}: {done.stderr}")
    _, *parts = SOURCE.split(done.stdout)
    texts = dict.fromkeys(range(len(many)) if not objections else (), "")
    for number, source, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if own := text.replace(ALIAS.format(int(number)), chart.name).strip():
            texts[int(number)] += f"---\n# Source: {chart.name}/{source}\n{own}\n"
    return Rendered(texts, objections, "" if objections else done.stderr.strip())


def _objections(said: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for match in OBJECTION.finditer(said):
        found[int(match[1])] = found.get(int(match[1]), "") + f"- at '{match[2]}"
    return found


def prepare(many: Iterable[Mapping[str, Any]], *, chart: Path = CHART, release: str = "exchanger", namespace: str = "edge") -> None:
    """Render many values files at once, so that ``render`` finds them; where that fails, it runs helm itself and says what it said.

    It also does for values that helm warns of, maybe only within a parent chart, as of a ``global`` of null, whose warning names none.
    """
    quiet = (values for values in many if values.get("global", {}) is not None)
    missing = {run: values for values in quiet if (run := key([values], chart, release, namespace, KUBERNETES, ())) not in RENDERED}
    if not missing:
        return
    with suppress(CulpritError):
        found = render_many([*missing.values()], chart=chart, release=release, namespace=namespace)
        warned = [NUMBER.search(line) for line in found.warnings.splitlines()]
        assert all(warned), f"of all values files, each of which would be rendered alone: {found.warnings}"
        left = found.texts.keys() - {int(match[1]) for match in warned if match}
        RENDERED.update((run, (found.texts[number], "")) for number, run in enumerate(missing) if number in left)


def refusals(many: Sequence[Mapping[str, Any]], *, chart: Path = CHART, release: str = "exchanger", namespace: str = "edge") -> list[str]:
    """Return with what helm refuses each of ``many``: what the schema objects to, or else the first sentence of a template, or nothing.

    ``helm lint`` only notes what ``fail`` says, and goes on, so that a run or two are enough. It gives the release a name of its own, and
    leaves a null in maps: values with one are rendered alone.
    """
    found = {
        number: refusal(values, chart=chart, release=release, namespace=namespace)
        for number, values in enumerate(many)
        if "null" in json.dumps(values)
    }
    named = {"fullnameOverride": release} if chart == CHART else {}
    while rest := {number: {**named, **values} for number, values in enumerate(many) if number not in found}:
        with _chart(chart, [*rest.values()], "*validate*.yaml", "{{ fail $alias }}") as (place, given):
            done = run_helm("lint", place, "--namespace", namespace, "--kube-version", KUBERNETES, "--values", given)
        objections = _objections(done.stdout)
        assert objections or not done.returncode, done.stdout
        _, *parts = re.split(r"message=one-of-many-(\d{4})\n", done.stderr)
        said = {int(number): SAID.search(text) for number, text in zip(parts[::2], parts[1::2], strict=True)}
        sentences = {number: json.loads(match[1]) if match else "" for number, match in said.items()}
        found |= {[*rest][number]: sentence for number, sentence in (objections or sentences).items()}
    return [found[number] for number in range(len(many))]


@contextmanager
def _chart(chart: Path, many: Sequence[Mapping[str, Any]], templates: str = "*.yaml", first: str = "") -> Generator[tuple[Path, Path]]:
    """Have a chart and its values: its template asks each template of ``chart`` in the name of each alias, its schema is that of each."""
    aliases = [ALIAS.format(number) for number in range(len(many))]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "many"
        part = place / "charts" / chart.name
        shutil.copytree(chart, part)
        (part / "templates").rename(place / "templates")
        (place / "templates" / "NOTES.txt").unlink(missing_ok=True)
        texts = []
        # Helm asks the last one first, so that its sentence wins, and returns the first one's manifests first.
        for path in sorted((place / "templates").rglob("*.yaml"), reverse=bool(first)):
            hidden = path.rename(path.with_name(f"_{path.name}"))  # which helm parses, and does not render by itself
            if path.match(templates):
                text = TEMPLATE.replace("many/PATH", f"many/{hidden.relative_to(place)}")
                texts.append(text.replace("PATH", str(path.relative_to(place))))
        (place / "templates" / "all.yaml").write_text(f"{BEGIN}{first}{''.join(texts)}{{{{- end }}}}")
        schema = json.loads((part / "values.schema.json").read_text()) | {"$id": "https://chart.example/values"}
        (part / "values.schema.json").unlink()
        each = {alias: {"$ref": schema["$id"]} for alias in aliases}
        about = {"$schema": schema["$schema"], "properties": each, "$defs": {"one": schema}}
        (place / "values.schema.json").write_text(json.dumps(about))
        dependencies = [{"name": chart.name, "version": "*", "alias": alias} for alias in aliases]
        about = {"apiVersion": "v2", "name": "many", "version": "0.0.0", "dependencies": dependencies}
        (place / "Chart.yaml").write_text(json.dumps(about))
        values = place / "given.yaml"
        given = {alias: _given(chart, one) for alias, one in zip(aliases, many, strict=True)}
        values.write_text(json.dumps(given))  # which is YAML, and written at once
        yield place, values
