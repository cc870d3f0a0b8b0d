"""Answers and explanations as text for people, from the value that the console shows as JSON: its own, or one that is read back."""

from collections.abc import Iterator
from typing import Any, Final

from exchanger.operations.console.explained import CandidateJson, ExplainedJson
from exchanger.operations.console.policy_view import AnswerJson, EntryJson, ExchangeJson, PlaceJson
from exchanger.util.text import printable

# Characters of one line: a reason has all problems of an entry.
LINE_LIMIT: Final = 2048
# Entries that are shown; the nearest come first.
MAX_SHOWN: Final = 20

Json = dict[str, Any]

_SIGNS: Final = {"won": "won", "blocked by": "blocks", "conflict": "conflict", "no": "no"}
_WIDTH: Final = 10


def text_of(lines: Iterator[str]) -> str:
    """Return ``lines`` as text that a terminal can show."""
    return "".join(f"{printable(line, LINE_LIMIT).rstrip()}\n" for line in lines)


def explanation_text(asked: str, shown: ExplainedJson) -> str:
    """Return the explanation ``shown`` of the request ``asked`` for people."""
    return text_of(_explained(asked, shown))


def _explained(asked: str, shown: ExplainedJson) -> Iterator[str]:
    decision = shown["decision"]
    yield asked
    yield ""
    yield f"{headline(decision)}: {decision['reason']}"
    exchange = decision["exchange"]
    profile = exchange.get("profile", []) if exchange else []
    rows = [] if decision["policy"] is None else [("by", place(decision["policy"]))]
    rows += [*target(exchange), *((line["name"], line["text"]) for line in profile)]
    width = max([_WIDTH, *(len(name) + 1 for name, _ in rows)])
    yield from (f"  {name:{width}}{value}" for name, value in rows)
    yield ""
    yield "Interpretations of the path"
    yield from (f"  {interpretation}" for interpretation in shown["readings"])
    yield ""
    found = shown["candidates"]
    if not found:
        yield "No entry covers this path."
    else:
        yield "Entries considered, nearest first"
    for candidate in found[:MAX_SHOWN]:
        yield from _candidate(candidate)
    more = shown["more"] + max(0, len(found) - MAX_SHOWN)
    if more:
        yield f"  and {more} more"


def _candidate(candidate: CandidateJson) -> Iterator[str]:
    line = "" if candidate["line"] is None else f", line {candidate['line']}"
    if "at" in candidate:
        line = f", {candidate['at']}"
    yield f"  {_SIGNS.get(candidate['outcome'], candidate['outcome']):{_WIDTH}}{place(candidate)}, {candidate['action']}{line}"
    yield f"  {'':{_WIDTH}}{area(candidate)}"
    yield f"  {'':{_WIDTH}}{candidate['why']}"


def headline(decision: AnswerJson) -> str:
    """Return the decision in a word or two."""
    kind, status = decision["kind"], decision["status"]
    return kind if status is None else f"{kind} ({status})"


def decided(decision: AnswerJson) -> str:
    """Return the decision, and the entry that makes it."""
    return headline(decision) + ("" if decision["policy"] is None else f" by {place(decision['policy'])}")


def place(found: PlaceJson) -> str:
    """Return the place of an entry."""
    if not found["namespace"] and found["name"] == "baseline":
        return f"{found['name']} [{found['entry']}]"
    entry = "" if found["entry"] is None else f" entries[{found['entry']}]"
    return f"{found['namespace']}{'/' if found['namespace'] else ''}{found['name']}{entry}"


def area(entry: EntryJson) -> str:
    """Return the requests that an entry applies to."""
    parts = [f"{entry['host'] or 'any host'} {entry['path_prefix'] or 'any path'}"]
    if entry["path_type"] != "Prefix":
        parts.append(entry["path_type"])
    if entry["case_insensitive"]:
        parts.append("any case")
    if entry["methods"] is not None:
        parts.append(" ".join(entry["methods"]))
    parts += [f"{header['name']}: {header['value']}" for header in entry["headers"]]
    return ", ".join(parts)


def target(exchange: ExchangeJson | None) -> Iterator[tuple[str, str]]:
    """Yield the exchange that would be requested, and from which issuer."""
    if not exchange:
        return
    yield "issuer", exchange["issuer"] + (f" ({exchange['endpoint']})" if exchange["endpoint"] else "")
    if exchange["scope"]:
        yield "scope", exchange["scope"]
    yield from (("audience", audience) for audience in exchange["audiences"])
    yield from (("resource", resource) for resource in exchange["resources"])
    if metadata := exchange.get("resource_metadata"):
        yield "metadata", metadata
