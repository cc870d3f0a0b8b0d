"""The pages hold what they promise: links and anchors, proofs of the security page, indexes, and a reference that is complete."""

import importlib.util
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
import yaml

from exchanger.authz.decision.outcome import DecisionReason
from exchanger.cli import available_commands, parse
from exchanger.model.entry import Source
from exchanger.model.errors import Diagnostic
from exchanger.model.token import Cache, ErrorKind
from exchanger.policy.documents.document import parse_document
from tests.monitoring.exported import exported

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("helm/*/README.md")])
SECURITY: Final = DOCS / "explanation" / "security.md"
ARCHITECTURE: Final = DOCS / "explanation" / "architecture.md"
REFERENCE: Final = DOCS / "reference"
README_LINES: Final = 200
EVENT: Final = re.compile(
    r'"((?:admission|audit|check|config|console|grants|grpc|http_authz|issuers?|library|log|policy|service|telemetry|tls|token_cache)\.[a-z_]+)"'
)
# Names of files and of OpenTelemetry's attributes, which look like events.
NOT_EVENTS: Final = frozenset(
    {
        "config.yaml",
        "console.log",
        "grants.yaml",
        "issuers.json",
        "issuers.yaml",
        "policy.yaml",
        "service.log",
        "service.name",
        "service.version",
        "tests.yaml",
    }
)


def site() -> ModuleType:
    """Return what builds the site."""
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / ".ci" / "site_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def links(page: Path) -> list[tuple[Path, str]]:
    """Return the files that ``page`` links to, each with its anchor or an empty string."""
    found = re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", page.read_text())
    return [((page.parent / path).resolve() if path else page, anchor) for path, anchor in found]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings as GitHub makes them: lower case, hyphens for spaces, and only ``-`` and ``_`` kept."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code(page: Path) -> set[str]:
    """Return what ``page`` has between backticks."""
    return set(re.findall(r"`([^`\n]+)`", page.read_text()))


@cache
def events() -> frozenset[str]:
    return frozenset(event for path in (ROOT / "exchanger").rglob("*.py") for event in EVENT.findall(path.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = [(path.name, anchor) for path, anchor in links(page) if not path.exists() or (anchor and anchor not in anchors(path))]
    assert broken == []


def proofs() -> set[str]:
    """Return the tests and files of code that the pages for reviewers name."""
    of_conformance = {f"exchanger/{name}" for name in code(REFERENCE / "conformance.md") if name.endswith(".py")}
    return of_conformance | {name for name in code(SECURITY) if name.startswith(("tests/", "exchanger/"))}


@pytest.mark.parametrize("name", sorted(proofs()))
def test_every_proof_exists(name: str) -> None:
    assert list(ROOT.glob(name.removesuffix("/")))


def test_proofs_have_their_whole_path() -> None:
    assert re.findall(r"`test_[^`]*`", SECURITY.read_text()) == []


def test_every_attack_is_named() -> None:
    text = SECURITY.read_text()
    assert [path.name for path in ROOT.glob("tests/attack/test_*.py") if f"`tests/attack/{path.name}`" not in text] == []


def test_the_index_names_each_page() -> None:
    """A runbook is found from the index of runbooks."""
    linked = {path for path, _ in links(DOCS / "README.md")}
    pages = {path for path in DOCS.rglob("*.md") if path.parent.name != "runbooks" or path.name == "README.md"}
    assert pages - linked == {DOCS / "README.md"}


def test_the_guides_name_each_other() -> None:
    folder = DOCS / "how-to" / "install"
    assert {path for path, _ in links(folder / "README.md")} >= set(folder.glob("*.md")) - {folder / "README.md"}


def test_only_the_pages_on_cost_say_how_many_microseconds_something_takes() -> None:
    cost = {"performance.md", "tracing.md", "NOTES.md", "CHANGELOG.md"}
    assert [page.name for page in PAGES if page.name not in cost and "µs" in page.read_text()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def test_the_reference_has_every_metric() -> None:
    named = {name.partition("{")[0] for name in code(REFERENCE / "metrics.md")}
    families = {re.sub(r"_(?:bucket|count|sum|created)$", "", name) for name in exported()}
    assert {name for name in families if not name.startswith("process_")} - named == set()
    assert {value.value for value in (*DecisionReason, *ErrorKind)} - named == set()


def test_the_reference_has_every_log_event() -> None:
    assert code(REFERENCE / "log-events.md") & set(events()) == set(events()) - NOT_EVENTS


def test_the_reference_has_every_field_of_a_decision_and_no_other() -> None:
    source = (ROOT / "exchanger" / "operations" / "telemetry" / "decision_log.py").read_text().partition("# Fields that differ between")[0]
    made = set(re.findall(r'(?:line\["|^ {8}")([a-z_]+)"', source, re.MULTILINE)) - {"subject_token", "exchanged_token"}
    made |= {f"{side}_{name}" for side in ("requested", "issued") for name in ("iss", "aud", "scope")}
    table = (REFERENCE / "log-events.md").read_text().partition("## Decisions")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} | {"timestamp", "level", "event"} == made


def test_the_reference_has_every_value_of_cache() -> None:
    (row,) = [line for line in (DOCS / "reference" / "gateway.md").read_text().splitlines() if line.startswith("| `cache` |")]
    assert {value.value for value in Cache} <= set(re.findall(r"`([a-z]+)`", row))


def test_the_reference_has_every_code() -> None:
    named = re.findall(r"^### (TXE.*)$", (REFERENCE / "codes.md").read_text(), re.MULTILINE)
    assert {diagnostic.value for diagnostic in Diagnostic} == set(named)


def test_the_reference_has_every_command() -> None:
    page = (REFERENCE / "commands.md").read_text()
    rows = dict(re.findall(r"^\| `exchanger ([a-z-]+)[^`]*` \| (.*?)(?: \(\[how-to\]\S+\))? \|$", page, re.MULTILINE))
    del rows["help"], rows["--version"]
    assert {name: re.sub(r"\[(.*?)\]\(.*?\)", r"\1", text) for name, text in rows.items()} == {
        name: command.help for name, command in available_commands().items()
    }


@pytest.mark.parametrize("name", sorted(available_commands()))
def test_the_reference_has_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([name, "--help"])
    options = set(re.findall(r"(?<!\S)--[a-z][a-z-]+", capsys.readouterr().out.partition("Environment variables")[0])) - {"--help"}
    page = DOCS / "how-to" / "scenarios.md" if name == "scenarios" else REFERENCE / "commands.md"
    text = page.read_text() if name == "scenarios" else page.read_text().partition(f"## exchanger {name}\n")[2].partition("\n## ")[0]
    assert {option for option in options if not re.search(rf"(?<!\S)`?{option}(?![a-z-])", text)} == set()


def test_places_that_the_architecture_names_are_there() -> None:
    """Moving one means updating the page."""
    named = {path for path in code(ARCHITECTURE) if re.fullmatch(r"[\w./-]+(?:/|\.\w+)", path)}
    assert [path for path in named if not any((root / path).exists() for root in (ROOT, ROOT / "exchanger"))] == []
    table = ARCHITECTURE.read_text().partition("## Where to add")[2]
    source = "\n".join(path.read_text() for path in (ROOT / "exchanger").rglob("*") if path.suffix in {".py", ".js"})
    names = set(re.findall(r"`(_?[A-Za-z]\w+)`", table))
    assert names
    assert [name for name in names if not re.search(rf"\b{name}\b", source)] == []


def test_the_architecture_has_the_stages_of_an_exchange_in_their_order() -> None:
    rows = re.findall(r"^\| (\w+) \| `exchange/\1\.py` \|", ARCHITECTURE.read_text(), re.MULTILINE)
    assert f"{' ▸ '.join(rows)}\n" in (ROOT / "exchanger" / "exchange" / "stage.py").read_text()
    assert rows[-1:] == ["call"]


def test_the_tutorial_quotes_what_the_service_says() -> None:
    page = (DOCS / "tutorials" / "first-policy.md").read_text()
    manifest, _ = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (appended,) = re.findall(r"<<'END'\n(.*?)END\n", page, re.DOTALL)
    _, policy = yaml.safe_load_all(manifest + appended)
    text = policy["data"]["config.yaml"]
    for wrong in (text, text.replace("issuerRef: demo", "issuerRef: dmeo").replace("/internal/*", "/internal")):
        (closed_scope,) = parse_document(Source("team-green", "policy"), wrong, frozenset({"demo"})).closed_scopes
        assert closed_scope.reason in page.replace('\\"', '"')


def test_the_site_has_every_page_and_every_diagram() -> None:
    builder = site()
    at = builder.places()
    for source in at:
        if source.suffix == ".md":
            assert "```mermaid" not in builder.page(source, at)
    assert [path for path in PAGES if path not in at] == []
