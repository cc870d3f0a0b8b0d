"""Writes the JSON Schemas into docs/schemas, and that of the grants into the chart's; ``--check`` only says whether they are up to date.

In ``helm/exchanger/values.schema.json``, everything below ``$defs/grantsFile`` is written by this script, and the fields of issuer profiles
in ``IDENTITY``. In grants, a null or an empty text is a mistake: it is what a template leaves that found no value, and of a path prefix it
would mean every path.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from exchanger.tools.schemas import SCHEMAS
from exchanger.util.json_schema import as_text

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "docs" / "schemas"
CHART: Final = ROOT / "helm" / "exchanger" / "values.schema.json"
DEFINITION: Final = "grantsFile"
# Fields of the chart's issuer profiles that are as the service has them. The others are written by hand: the chart fills them in.
IDENTITY: Final = (
    *("discovery", "clientAssertion", "clientAssertionFile", "clientCertificate", "caFile", "grantType", "requestedTokenType"),
    *("actorToken", "parameters", "subjectToken", "errors"),
)


def texts() -> dict[Path, str]:
    """Return what each file should contain."""
    found = {FOLDER / f"{name}.schema.json": as_text(make()) for name, make in SCHEMAS.items()}
    chart: dict[str, Any] = json.loads(CHART.read_text())
    body = without_nothing({key: value for key, value in SCHEMAS["grants"]().items() if key not in {"$schema", "$id", "title"}})
    chart["$defs"][DEFINITION] = {**body, "description": "written by .ci/schemas.py from the service's own schema of the file"}
    issuers: dict[str, Any] = SCHEMAS["issuers"]()
    profile = issuers["properties"]["issuers"]["items"]["properties"]
    chart["$defs"]["issuerProfiles"]["items"]["properties"] |= {name: profile[name] for name in IDENTITY}
    return {**found, CHART: as_text(chart)}


def without_nothing(schema: Any) -> Any:
    """Return ``schema`` without the nulls and empty texts that it accepts."""
    if isinstance(schema, list):
        return [without_nothing(item) for item in schema if item != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    left = {key: without_nothing(value) for key, value in schema.items()}
    if isinstance(left.get("type"), list):
        (left["type"],) = (kind for kind in left["type"] if kind != "null")
    return {**left, "minLength": 1} if left.get("type") == "string" and "pattern" in left else left


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    wanted = texts()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    stale += [path for path in FOLDER.iterdir() if path not in wanted]
    if arguments:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not up to date: run python .ci/schemas.py", file=sys.stderr)
        return int(bool(stale))
    for path, text in wanted.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
