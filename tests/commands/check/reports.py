"""What ``exchanger check`` says about the example of each code, as ``reports.txt`` records it.

If a change is meant, run ``python -m tests.commands.check.reports`` and read the difference.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from exchanger.commands.check.report import as_text
from exchanger.model.codes.code import Code, Example
from exchanger.model.codes.registry import CODES
from tests.commands.check.checking import checked, config_map, entries, rules
from tests.model.codes.reaching import ISSUERS

FILE: Final = Path(__file__).with_name("reports.txt")
DENY: Final = "{match: {host: api.example.com, pathPrefix: /orders}, action: deny}"
# How the lines about all problems of a report begin, which are the same for most examples.
SUMMARY: Final = (*"123456789", "What a code means")
# Beside the examples: more rivals than are listed, a remedy that goes for several problems, and a line that is cut.
MORE: Final = {
    "five rivals": config_map(entries(*[DENY] * 5)),
    "a remedy for three": config_map(entries("{}", DENY.replace("/orders", "/orders/x*y"), DENY.replace("/orders", "/a*b"))),
    "a long line": config_map(entries(DENY.replace("api.example.com", f"a b, pathPrefix: /{'long/' * 40}, methods: [GET]"))),
    "a wide line": config_map(entries("{match: {host: 日本.example, pathPrefix: /}, acton: deny}")),
}


def manifest(code: Code) -> str:
    """Return the example of ``code`` as a manifest."""
    return code.example if code.kind is Example.MANIFESTS else config_map(code.example)


def reports() -> Iterator[str]:
    """Yield the report about each example, below its name."""
    for code in CODES:
        if code.kind in {Example.POLICY, Example.GRANTED_POLICY, Example.MANIFESTS} and code.example:
            text = as_text(checked(manifest(code), by=rules(code.grants, ISSUERS), with_uncovered=True))
            yield f"== {code.name}\n{''.join(line for line in text.splitlines(keepends=True) if not line.startswith(SUMMARY))}"
    for name, text in MORE.items():
        yield f"== {name}\n{as_text(checked(text))}"


def main() -> None:
    """Record everything anew."""
    FILE.write_text("".join(reports()))


if __name__ == "__main__":
    main()
