"""Writes docs/reference/codes.md from the registry of codes; ``--check`` only says whether it is up to date."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from exchanger.codes.code import Code, Example  # noqa: E402 - of this checkout
from exchanger.codes.registry import CODES  # noqa: E402

PAGE: Final = ROOT / "docs" / "reference" / "codes.md"
# Lines of an example that are shown; some have to be long to trigger what they are for.
MAX_LINES: Final = 24
MAX_WIDTH: Final = 140
GROUPS: Final = {
    "POL-10": "Policy documents",
    "POL-11": "Fields of an entry",
    "POL-12": "Hosts",
    "POL-13": "Path prefixes",
    "POL-14": "Methods, path types and headers",
    "POL-19": "Style",
    "POL-20": "Policies under grants",
    "POL-21": "Between entries",
    "POL-30": "Files and objects",
    "POL-31": "Labels",
    "POL-40": "Grants files",
    "POL-50": "Issuer profiles",
    "TXE-1": "Exchanges: no usable answer",
    "TXE-2": "Exchanges: an error from the token endpoint",
    "TXE-3": "Exchanges: an unusable answer",
    "TXE-4": "Exchanges: the caller's token is not good enough, or cannot be judged",
}
HEAD: Final = """\
# Codes

<!-- written by .ci/codes_page.py from exchanger/codes -->

Every problem has a code, which never changes its meaning: `POL-…` of policies, grants, issuer profiles and the manifests around them,
`TXE-…` of failed token exchanges. Events, log lines, the console, `exchanger status` and [`exchanger check`](../how-to/check-policies.md)
have it, and `exchanger code CODE` prints what this page says.

An error means that something is not in force, or that requests are refused. A warning is probably a mistake. A notice is about style alone.
"""


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for prefix, title in GROUPS.items():
        parts.append(f"\n## {title}\n")
        parts += ["".join(section(code)) for code in CODES if code.name.startswith(prefix)]
    return "".join(parts)


def section(code: Code) -> Iterator[str]:
    """Yield the section of one code."""
    yield f"\n### {code.name}\n\n{code.sentence} ({code.severity.value})\n\nUsual causes:\n\n"
    yield from (f"- {cause}\n" for cause in code.causes)
    yield f"\nWhat to do: {code.remedy}\n"
    if code.kind is Example.SITUATION:
        yield f"\nExample: {code.example}\n"
    elif code.example.strip() and is_readable(code.example):
        yield f"\nExample:\n\n```yml\n{code.example.rstrip()}\n```\n"
        if code.grants:
            yield f"\nunder these grants, in the namespace `team`:\n\n```yml\n{code.grants.rstrip()}\n```\n"


def is_readable(example: str) -> bool:
    """Tell whether an example fits on a page."""
    lines = example.splitlines()
    return len(lines) <= MAX_LINES and all(len(line) <= MAX_WIDTH for line in lines)


def main() -> int:
    """Return the exit status."""
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    left = [code.name for code in CODES if not any(code.name.startswith(prefix) for prefix in GROUPS)]
    if left:
        print(f"no group for {', '.join(left)}", file=sys.stderr)
        return 1
    wanted = page()
    if not sys.argv[1:]:
        PAGE.write_text(wanted)
    elif not PAGE.exists() or PAGE.read_text() != wanted:
        print(f"{PAGE.relative_to(ROOT)} is not up to date: run python .ci/codes_page.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
