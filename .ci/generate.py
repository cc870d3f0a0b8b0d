"""Writes what this repository says twice: code, texts, schemas and tables that are made from the code or from other files.

    generate.py [NAME ...]      writes them
    generate.py --check         only says which are not up to date

- ``proto``: ``exchanger/_proto``, from ``proto/``
- ``codes``: the page of codes, from their registry
- ``help``: what ``exchanger serve --help`` says of variables, from the reference
- ``schemas``: the JSON Schemas, and what of them is in the chart's
- ``variables``: the names of variables that the chart accepts in ``env``
- ``values``: the tables of values in the charts' READMEs, from the comments in ``values.yaml``
- ``gateways``: the configurations in the guides for gateways that ask over HTTP, which the demo uses, too
- ``output``: what the documentation shows of commands, from running them
- ``performance``: tables and plot of what bench/ measured, from the data beside the page
"""

import difflib
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = (str(ROOT), str(ROOT / ".ci"), str(ROOT / "bench"))

from generate_proto import GenerationError, generate  # noqa: E402 - beside this file

from exchanger.app.settings import known_variables  # noqa: E402 - of this checkout
from exchanger.app.variable_names import OF_A_SERVICE, OF_GRPC, PREFIXES  # noqa: E402
from exchanger.commands.schemas import SCHEMAS  # noqa: E402
from exchanger.model.codes.code import Code, Example  # noqa: E402
from exchanger.model.codes.registry import CODES  # noqa: E402
from exchanger.util.json_schema import as_text  # noqa: E402

DOCS: Final = ROOT / "docs"
# By file; ``None``: there must be no such file.
Texts = Mapping[Path, str | None]
# Of a difference.
SHOWN_LINES: Final = 40
SHOWN_CHARS: Final = 200


def proto() -> Texts:
    """Return the package of messages and services."""
    with tempfile.TemporaryDirectory() as scratch:
        return generate(Path(scratch))


# The page of codes

# Lines of an example that are shown; some have to be long to trigger what they are for.
EXAMPLE_LINES: Final = 24
EXAMPLE_WIDTH: Final = 140
GROUPS: Final = {
    "POL-10": "Policy documents",
    "POL-11": "Fields of an entry",
    "POL-12": "Hosts",
    "POL-13": "Path prefixes",
    "POL-14": "Methods, path types and headers",
    "POL-19": "Style",
    "POL-20": "Policies under grants",
    "POL-21": "Between entries",
    "POL-22": "Limits of namespaces",
    "POL-30": "Files and objects",
    "POL-31": "Labels",
    "POL-40": "Grants files",
    "POL-50": "Issuer profiles",
    "TXE-1": "Exchanges: no usable response",
    "TXE-2": "Exchanges: an error from the token endpoint",
    "TXE-3": "Exchanges: an unusable response",
    "TXE-4": "Exchanges: the caller's token is rejected, or cannot be checked",
    "TXE-5": "Exchanges: the audit log cannot be written",
}
# What a group says first.
INTRODUCTIONS: Final = {"POL-22": "[Limits](limits.md) has the numbers, what counts, and what happens when a limit is exceeded."}
# Lines that at least so many examples have are shown only around others.
USUAL: Final = 8
# Enclosing lines that are shown above a line.
CONTEXT: Final = 2
# Lines of an example that is shown whole.
SHORT: Final = 4
HEAD: Final = """\
# Codes

<!-- written by .ci/generate.py from exchanger/model/codes -->

Every problem has a code, which never changes its meaning: `POL-…` of policies, grants, issuer profiles and the manifests around them,
`TXE-…` of failed token exchanges. Events, log lines, the console, `exchanger status` and [`exchanger check`](../how-to/check-policies.md)
have it, and `exchanger code CODE` prints what this page says.

An error means that something is not active, or that requests fail. A warning is probably a mistake. A notice is valid and often meant,
but worth a look. `exchanger check` exits with 1 for errors and warnings. Comments can accept warnings and notices:
`# exchanger: ignore CODE`.
"""


def codes() -> Texts:
    """Return the page of codes."""
    if left := [code.name for code in CODES if not code.name.startswith(tuple(GROUPS))]:
        raise GenerationError(f"no group for {', '.join(left)}")
    parts = [HEAD]
    for prefix, title in GROUPS.items():
        parts.append(f"\n## {title}\n")
        if prefix in INTRODUCTIONS:
            parts.append(f"\n{INTRODUCTIONS[prefix]}\n")
        own = [code for code in CODES if code.name.startswith(prefix)]
        grants = dict.fromkeys(code.grants for code in own if code.grants)
        parts += [f"\nThe examples are in the namespace `team`, under these grants:\n\n```yml\n{text.rstrip()}\n```\n" for text in grants]
        parts += ["".join(section(code)) for code in own]
    return {DOCS / "reference" / "codes.md": "".join(parts)}


def section(code: Code) -> Iterator[str]:
    """Yield the section of one code."""
    yield f"\n### {code.name}\n\n{code.sentence} ({code.severity.value})\n\nCauses:\n\n"
    yield from (f"- {cause}\n" for cause in code.causes)
    yield f"\nRemedy: {code.remedy}\n"
    lines = code.example.splitlines()
    if code.kind is Example.SITUATION:
        yield f"\nExample: {code.example}\n"
    elif code.example.strip() and len(lines) <= EXAMPLE_LINES and all(len(line) <= EXAMPLE_WIDTH for line in lines):
        yield f"\nExample:\n\n```yml\n{excerpt(lines)}\n```\n"


def excerpt(lines: list[str]) -> str:
    """Return the lines of an example that few others have, each below lines that enclose it. ``# …`` stands for left-out lines."""
    telling = [number for number, line in enumerate(lines) if usual_lines()[line] < USUAL]
    if len(lines) <= SHORT or not telling:
        return "\n".join(lines)
    shown = set(telling)
    for number in telling:
        enclosing = []
        indentation = indentation_of(lines[number])
        for above in range(number - 1, -1, -1):
            if indentation_of(lines[above]) < indentation:
                indentation = indentation_of(lines[above])
                enclosing.append(above)
        shown.update(enclosing[:CONTEXT])
    found = list[str]()
    for before, number in itertools.pairwise((min(shown) - 1, *sorted(shown))):
        if number > before + 1:
            found.append(f"{' ' * indentation_of(lines[before + 1])}# …")
        found.append(lines[number])
    return textwrap.dedent("\n".join(found))


def indentation_of(line: str) -> int:
    """Return the column of the first character of ``line``."""
    return len(line) - len(line.lstrip(" "))


@cache
def usual_lines() -> Counter[str]:
    """Return in how many examples each line is."""
    return Counter(line for code in CODES for line in set(code.example.splitlines()))


# The help of ``exchanger serve`` and ``exchanger admission``

HELP_WIDTH: Final = 79
HELP_INDENT: Final = "      "
_LINK: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def serve_help() -> Texts:
    """Return the help, from the page of the reference."""
    introduction, *sections = _sections("configuration.md")
    paragraphs = introduction.split("\n\n")[1:]
    lines = [line for paragraph in paragraphs for line in textwrap.wrap(plain(paragraph.replace("\n", " ")), HELP_WIDTH)]
    for text in sections:
        title, _, body = text.partition("\n")
        lines += ["", f"{title}:", *_variables(body)]
    return {ROOT / "exchanger" / "app" / "serve_help.txt": "\n".join(lines) + "\n"}


def admission_help() -> Texts:
    """Return the help of ``exchanger admission``: its own variables, and those of the service that it names."""
    text = next(section for section in _sections("admission.md") if section.startswith("Variables\n"))
    own, _, others = text.partition("These [variables of the service]")
    shared = set(re.findall(r"`([A-Z_]+)`", others))
    rows = [row for section in _sections("configuration.md")[1:] for row in section.splitlines() if row.startswith("| `")]
    named = "\n".join(row for row in rows if shared & set(re.findall(r"`([A-Z_]+)`", row.split(" | ")[0])))
    lines = [
        "Its own environment variables:",
        *_variables(own),
        "",
        "Variables of exchanger serve that mean the same here:",
        *_variables(named),
    ]
    return {ROOT / "exchanger" / "app" / "admission" / "help.txt": "\n".join(lines) + "\n"}


def _sections(page: str) -> list[str]:
    return (DOCS / "reference" / page).read_text().split("\n## ")


def _variables(table: str) -> Iterator[str]:
    for row in re.findall(r"^\| (`.*) \|$", table, re.MULTILINE):
        names, default, meaning = (plain(cell) for cell in re.split(r"(?<!\\) \| ", row))
        ends = meaning if meaning.endswith(".") else f"{meaning}."
        said = ends if default == "–" else f"{ends} Required." if default == "required" else f"{ends} Default: {default}"
        yield from textwrap.wrap(names, HELP_WIDTH, initial_indent="  ", subsequent_indent="  ")
        yield from textwrap.wrap(said, HELP_WIDTH, initial_indent=HELP_INDENT, subsequent_indent=HELP_INDENT, break_on_hyphens=False)


def plain(markdown: str) -> str:
    """Return the text of a cell without links and backticks."""
    return _LINK.sub(r"\1", markdown).replace("`", "").replace("\\|", "|").strip()


# JSON Schemas

# Fields of the chart's issuer profiles that are as the service has them. The others are written by hand: the chart fills them in.
IDENTITY: Final = (
    *(
        "discovery",
        "clientSecretFile",
        "clientAssertion",
        "clientAssertionFile",
        "clientCertificate",
        "caFile",
        "grantType",
        "requestedTokenType",
    ),
    *("cache", "limits", "actorToken", "parameters", "subjectToken", "issuedToken", "assertion", "errors"),
)


def schemas() -> Texts:
    """Return the schemas. Of the chart's, what is below ``$defs/grantsFile`` is written here, and the fields in ``IDENTITY``."""
    folder, chart = DOCS / "schemas", ROOT / "helm" / "exchanger" / "values.schema.json"
    found: dict[Path, str | None] = dict.fromkeys(folder.iterdir())
    found |= {folder / f"{name}.schema.json": as_text(make()) for name, make in SCHEMAS.items()}
    values: dict[str, Any] = json.loads(chart.read_text())
    body = without_nothing({key: value for key, value in SCHEMAS["grants"]().items() if key not in {"$schema", "$id", "title"}})
    values["$defs"]["grantsFile"] = {**body, "description": "written by .ci/generate.py from the service's own schema of the file"}
    issuers: dict[str, Any] = SCHEMAS["issuers"]()
    profile = issuers["properties"]["issuers"]["items"]["properties"]
    values["$defs"]["issuerProfiles"]["items"]["properties"] |= {name: profile[name] for name in IDENTITY}
    return {**found, chart: as_text(values)}


def without_nothing(schema: Any) -> Any:
    """Return ``schema`` without the empty texts that it accepts.

    In grants they are a mistake: what a template leaves that found no value, and of a path prefix it would mean every path.
    """
    if isinstance(schema, list):
        return [without_nothing(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    left = {key: without_nothing(value) for key, value in schema.items()}
    return {**left, "minLength": 1} if left.get("type") == "string" and "pattern" in left else left


# The variables that the chart knows

CHART_VARIABLES: Final = ROOT / "helm" / "exchanger" / "templates" / "_variables.tpl"
CHART_VARIABLES_TEXT: Final = """\
{{/* Written by .ci/generate.py from the service's settings. */}}

{{/* The variables that the service reads, except those of OpenTelemetry and of proxies (JSON of a list). */}}
{{- define "exchanger.knownVariables" -}}
%s
{{- end -}}

{{/* Names that look meant for the service. */}}
{{- define "exchanger.ourVariablePattern" -}}
^(%s)
{{- end -}}

{{/* Names among them that other programs read. */}}
{{- define "exchanger.otherVariablePattern" -}}
^(%s)$
{{- end -}}
"""


def chart_variables() -> Texts:
    """Return the template with the names."""
    names = json.dumps(sorted(known_variables()), indent=2)
    others = "|".join(pattern.pattern for pattern in (OF_A_SERVICE, OF_GRPC))
    return {CHART_VARIABLES: CHART_VARIABLES_TEXT % (names, "|".join(sorted(PREFIXES)), others)}


# Tables of values

BEGIN: Final = "<!-- values: written by .ci/generate.py from values.yaml -->"
END: Final = "<!-- end of values -->"


def values_tables() -> Texts:
    """Return the READMEs of charts with their tables between the marks.

    The comment directly above a key is its text. A mapping none of whose keys has a comment is one row. A key without a comment beside keys
    that have one is an error: every value is documented, or it is not finished.
    """
    found: dict[Path, str | None] = {}
    for readme in sorted((ROOT / "helm").glob("*/README.md")):
        before, begin, rest = readme.read_text().partition(BEGIN)
        _, end, after = rest.partition(END)
        if begin and end:
            found[readme] = f"{before}{BEGIN}\n\n{table((readme.parent / 'values.yaml').read_text())}\n\n{END}{after}"
    return found


def table(values: str) -> str:
    """Return the table for the text of a ``values.yaml``."""
    node = yaml.compose(values, Loader=yaml.CSafeLoader)
    if node is None:
        raise GenerationError("values.yaml is empty")
    written = ["| value | default | meaning |", "|---|---|---|"]
    for path, default, meaning in rows(node, values.splitlines()):
        name = f"`{path}`" if default else f"**`{path}`**"
        cells = (name, f"`{default}`" if default else "", meaning)
        written.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(written)


def rows(node: yaml.Node, lines: list[str], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield path, default and text of each value; the default of a heading is empty."""
    missing: list[str] = []
    for key, value in node.value:
        path = prefix + key.value
        text = comment_above(lines, key.start_mark.line)
        if has_comments(value, lines):
            if text:
                yield path, "", text
            yield from rows(value, lines, f"{path}.")
        elif text:
            yield path, json.dumps(yaml.safe_load(yaml.serialize(value)), ensure_ascii=False), text
        else:
            missing.append(path)
    if missing:
        raise GenerationError(f"no comment above {', '.join(missing)}")


def comment_above(lines: list[str], line: int) -> str:
    """Return the comment that ends right above ``line``, its lines joined."""
    found: list[str] = []
    while line > 0 and lines[line - 1].strip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].strip().removeprefix("#").strip())
    return " ".join(found)


def has_comments(node: yaml.Node, lines: list[str]) -> bool:
    """Return whether a key anywhere within ``node`` has a comment."""
    return isinstance(node, yaml.MappingNode) and any(
        comment_above(lines, key.start_mark.line) or has_comments(value, lines) for key, value in node.value
    )


# The configurations of gateways

# By page: the files whose texts are blocks of it, by the comment before each.
GATEWAYS: Final[Mapping[str, Mapping[str, str]]] = {
    "nginx.md": {"nginx": "nginx.conf"},
    "caddy.md": {"caddy": "Caddyfile"},
    "traefik.md": {"traefik: static": "traefik-static.yaml", "traefik: dynamic": "traefik.yaml"},
    "envoy-http.md": {"envoy: http_service": "envoy.yaml"},
}


def gateways() -> Texts:
    """Return the guides with the configurations in ``exchanger/commands/demo/gateways``."""
    return {DOCS / "how-to" / "install" / page: _configured(page, blocks) for page, blocks in GATEWAYS.items()}


def _configured(page: str, blocks: Mapping[str, str]) -> str:
    made = (DOCS / "how-to" / "install" / page).read_text()
    for mark, name in blocks.items():
        text = (ROOT / "exchanger" / "commands" / "demo" / "gateways" / name).read_text()
        before, begin, rest = made.partition(f"<!-- {mark} -->\n```")
        language, _, rest = rest.partition("\n")
        _, end, after = rest.partition("\n```\n")
        if not (begin and end):
            raise GenerationError(f"{page} has no block marked {mark}")
        made = f"{before}{begin}{language}\n{text.rstrip()}{end}{after}"
    return made


# The output of commands

# Seconds for one command; it reads a few small files.
COMMAND_S: Final = 60
_BLOCK: Final = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
_COMMAND: Final = re.compile(r"^\$ (exchanger .*)$", re.MULTILINE)


def output() -> Texts:
    """Return the pages with what their commands print now.

    A block of ``console`` has commands after ``$ ``, each followed by its output. Those that begin with ``exchanger`` are run in
    docs/examples, one after the other.
    """
    return {path: _BLOCK.sub(current, path.read_text()) for path in sorted(DOCS.rglob("*.md"))}


def current(block: re.Match[str]) -> str:
    """Return a block with the output that its commands have now."""
    return "\n".join(f"$ {command}\n{output_of(command)}\n" for command in _COMMAND.findall(block[1])) or block[1]


def output_of(command: str) -> str:
    """Return what the command line prints, to either stream, without any variable of this process but those that Python needs."""
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=DOCS / "examples",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    return done.stdout.rstrip("\n")


def performance() -> Texts:
    """Return the page of what bench/ measured, with its plot. Everything else is generated without that folder, too."""
    texts: Texts = import_module("report").pages()
    return texts


GENERATED: Final[Mapping[str, Callable[[], Texts]]] = {
    "proto": proto,
    "codes": codes,
    "help": serve_help,
    "admission help": admission_help,
    "schemas": schemas,
    "variables": chart_variables,
    "values": values_tables,
    "gateways": gateways,
    "output": output,
    "performance": performance,
}


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    check = "--check" in arguments
    names = [argument for argument in arguments if argument != "--check"] or list(GENERATED)
    if not set(names) <= GENERATED.keys():
        print(__doc__, file=sys.stderr)
        return 2
    stale = False
    for name in names:
        for path, wanted in sorted(GENERATED[name]().items()):
            present = path.read_text() if path.exists() else None
            if present == wanted:
                continue
            stale = True
            if not check and wanted is None:
                path.unlink()
            elif not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(wanted or "")
            else:
                print(f"{path.relative_to(ROOT)} is not up to date: run python .ci/generate.py {name}", file=sys.stderr)
                before, after = (present or "").splitlines(), (wanted or "").splitlines()
                differing = difflib.unified_diff(before, after, "present", "generated", n=1, lineterm="")
                print(*(line[:SHOWN_CHARS] for line in itertools.islice(differing, SHOWN_LINES)), sep="\n", file=sys.stderr)
    return int(check and stale)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except GenerationError as error:
        sys.exit(str(error))
