"""The results of a check as SARIF 2.1.0, which code scanners read. Pure.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

import json
from typing import Final
from urllib.parse import quote

from exchanger import __version__
from exchanger.commands.check.engine import Checked
from exchanger.commands.check.files import ManifestFile, PlacedProblem
from exchanger.commands.check.report import LIMIT, end_column, shown
from exchanger.commands.check.source_map import Place
from exchanger.model.codes.code import Code, Severity
from exchanger.model.codes.registry import CODES
from exchanger.util.text import printable

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTICE: "note"}
# Codes for problems of documents; the others are about failed exchanges.
RULES: Final = tuple(code for code in CODES if code.name.startswith("POL-"))
_INDEX: Final = {code.name: index for index, code in enumerate(RULES)}

Json = dict[str, object]


def as_sarif(checked: Checked) -> str:
    """Return one SARIF log with one run."""
    files = {file.name: file for file in checked.files}
    driver = {"name": "exchanger", "semanticVersion": __version__, "rules": [_rule(code) for code in RULES]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [
            *(_result(found, files) for found in checked.problems),
            *({**_result(found, files), "suppressions": [{"kind": "inSource"}]} for found in checked.ignored),
        ],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(code: Code) -> Json:
    causes = "".join(f"\n- {cause}" for cause in code.causes)
    return {
        "id": code.name,
        "shortDescription": {"text": code.sentence},
        "fullDescription": {"text": f"{code.sentence} {' '.join(code.causes)}"},
        "help": {"text": code.remedy, "markdown": f"{code.sentence}\n\nCauses:\n{causes}\n\n{code.remedy}"},
        "defaultConfiguration": {"level": _LEVELS[code.severity]},
    }


def _result(found: PlacedProblem, files: dict[str, ManifestFile]) -> Json:
    problem = found.problem
    result: Json = {
        "ruleId": problem.code.name,
        "ruleIndex": _INDEX[problem.code.name],
        "level": _LEVELS[problem.code.severity],
        "message": {"text": printable(problem.sentence, LIMIT)},
        "locations": [{"physicalLocation": _location(found.file, found.place, end_column(found, files[found.file]))}],
    }
    if found.rivals:
        related = [{"physicalLocation": _location(file, place)} for file, place in found.rivals]
        return {**result, "relatedLocations": related}
    return result


def _location(file: str, place: Place, end: int | None = None) -> Json:
    region: Json = {"startLine": place.line or 1, "startColumn": place.column or 1}
    if end is not None:
        region["endColumn"] = end
    return {"artifactLocation": {"uri": quote(shown(file).removeprefix("./"))}, "region": region}
