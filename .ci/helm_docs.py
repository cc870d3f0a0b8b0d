"""Writes the table of values in a chart's README from the comments in its ``values.yaml``; ``--check`` only says whether it is up to date.

The comment directly above a key is its text. A mapping none of whose keys has a comment is one row. A key without a comment beside keys
that have one is an error: every value is documented, or it is not finished. The table stands between the two marks in the README.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

CHARTS: Final = Path(__file__).resolve().parents[1] / "helm"
BEGIN: Final = "<!-- values: written by .ci/helm_docs.py from values.yaml -->"
END: Final = "<!-- end of values -->"
Row = tuple[str, str, str]


class UndocumentedError(Exception):
    """Values without a comment; the message names them."""


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


def rows(node: yaml.MappingNode, lines: list[str], prefix: str = "") -> Iterator[Row]:
    """Return path, default and text of each value; the default of a heading is empty.

    Raises:
        UndocumentedError: for values without a comment.
    """
    missing: list[str] = []
    for key, value in node.value:
        path = prefix + key.value
        text = comment_above(lines, key.start_mark.line)
        if isinstance(value, yaml.MappingNode) and has_comments(value, lines):
            if text:
                yield path, "", text
            yield from rows(value, lines, f"{path}.")
        elif text:
            yield path, json.dumps(yaml.safe_load(yaml.serialize(value)), ensure_ascii=False), text
        else:
            missing.append(path)
    if missing:
        raise UndocumentedError(f"no comment above {', '.join(missing)}")


def table(values: str) -> str:
    """Return the table for the text of a ``values.yaml``."""
    lines = values.splitlines()
    node = yaml.compose(values, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        raise UndocumentedError("values.yaml is no mapping")
    written = ["| value | default | meaning |", "|---|---|---|"]
    for path, default, text in rows(node, lines):
        name = f"`{path}`" if default else f"**`{path}`**"
        cells = (name, f"`{default}`" if default else "", text)
        written.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(written)


def with_table(readme: str, values: str) -> str:
    """Return ``readme`` with the table between the marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UndocumentedError("the README has not both marks")
    return f"{before}{BEGIN}\n\n{table(values)}\n\n{END}{after}"


def main() -> int:
    """Return the exit status."""
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    failed = False
    for readme in sorted(CHARTS.glob("*/README.md")):
        text = readme.read_text()
        if BEGIN not in text:
            continue
        try:
            wanted = with_table(text, (readme.parent / "values.yaml").read_text())
        except UndocumentedError as error:
            print(f"{readme.parent.name}: {error}", file=sys.stderr)
            failed = True
            continue
        if wanted != text and sys.argv[1:]:
            print(f"{readme} is not up to date: run python .ci/helm_docs.py", file=sys.stderr)
            failed = True
        elif wanted != text:
            readme.write_text(wanted)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
