"""What holds for every JSON Schema: the committed file, the dialect, portable patterns, descriptions, and the documents that we show."""

import importlib
import json
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from jsonschema import Draft202012Validator
from playwright._impl._driver import compute_driver_executable

from exchanger.commands.schemas import SCHEMAS
from exchanger.util.json_schema import as_text

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "docs" / "schemas"
# The page on codes has an example of each mistake.
PAGES: Final = ["README.md", *sorted({str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")} - {"docs/reference/codes.md"})]
# Kinds of files in which a document may stand alone.
FILES: Final = sorted(
    path
    for folder in ("docs", "exchanger", "helm", "tests")
    for pattern in ("*.yaml", "*.yml")
    for path in (ROOT / folder).rglob(pattern)
    if "templates" not in path.parts
)
MODELINE: Final = re.compile(r"^# yaml-language-server: \$schema=(\S+)$", re.MULTILINE)

each = pytest.mark.parametrize("name", list(SCHEMAS))


def found(schema: Any, name: str) -> Iterator[Any]:
    """Yield every value under the key ``name``."""
    if isinstance(schema, dict):
        yield from ([schema[name]] if name in schema else [])
        schema = list(schema.values())
    if isinstance(schema, list):
        for inner in schema:
            yield from found(inner, name)


def fields(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each field of a document, with its path; those of conditions have no descriptions."""
    for name, value in schema.get("properties", {}).items():
        yield f"{path}.{name}", value
        yield from fields(value, f"{path}.{name}")
    if "items" in schema:
        yield from fields(schema["items"], f"{path}[]")


@each
def test_the_committed_schema_is_the_generated_one(name: str) -> None:
    assert (FOLDER / f"{name}.schema.json").read_text() == as_text(SCHEMAS[name]()), "run .venv/bin/python .ci/generate.py"


def test_there_are_no_other_committed_schemas() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.schema.json" for name in SCHEMAS}


@each
def test_it_is_a_schema_of_2020_12(name: str) -> None:
    assert SCHEMAS[name]()["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(SCHEMAS[name]())


@each
def test_its_patterns_are_for_every_language(name: str) -> None:
    patterns = [pattern for pattern in found(SCHEMAS[name](), "pattern") if isinstance(pattern, str)]
    assert patterns
    for pattern in patterns:
        assert set(re.findall(r"\\(.)", pattern)) <= set("\\*.?+^$(){}[]|"), pattern
        outside = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "x", pattern)
        assert re.search(r"\(\?[^:]|[+*?}]\+", outside) is None, pattern


# What a document may have, and what means one thing in one language and another elsewhere: blanks, case and parts of patterns.
PIECES: Final = (
    *(
        "a",
        "A.b",
        "/",
        "//",
        "..",
        "*",
        "*.",
        "{namespace}",
        "{label:a/b}",
        "{",
        "}",
        "%2f",
        "%",
        "%2e",
        "?",
        "#",
        "\\",
        "|",
        ",",
        "'",
        '"',
    ),
    *(" ", "\t", "\u00a0", "\u2028", "\u0085", "\ufeff", "\u200b", "\x1c", "\u212a", "\u0130", "é", "µ", "_", "-", ";", "^", "+", "(", ")"),
    *(
        "http",
        "https",
        "://",
        ":",
        "80",
        "@",
        "[::1]",
        "GET",
        "all",
        "deny",
        "Exchange",
        "v1",
        "5m",
        "1.5s",
        "<a>",
        "${",
        "Prefix",
        "cookie",
    ),
)
JAVASCRIPT: Final = """
const {patterns, texts} = JSON.parse(require("fs").readFileSync(0, "utf8"));
const all = patterns.map((pattern) => [new RegExp(pattern), new RegExp(pattern, "u")]);
console.log(JSON.stringify(all.map((forms) => texts.map((text) => forms.map((form) => form.test(text))))));
"""


@each
def test_javascript_finds_in_its_patterns_what_python_does(name: str) -> None:
    """Editors run JavaScript, with and without the flag for Unicode; playwright brings a Node.js along."""
    patterns = sorted({pattern for pattern in found(SCHEMAS[name](), "pattern") if isinstance(pattern, str)})
    draw = random.Random(7)
    texts = ["".join(draw.choices(PIECES, k=draw.randint(0, 6))) for _ in range(1000)]
    command = (compute_driver_executable()[0], "-e", JAVASCRIPT)
    asked = json.dumps({"patterns": patterns, "texts": texts})
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True, timeout=60)
    for pattern, answers in zip(patterns, json.loads(done.stdout), strict=True):
        find = re.compile(pattern).search
        assert [text for text, answer in zip(texts, answers, strict=True) if answer != [find(text) is not None] * 2] == [], pattern


@each
def test_each_field_is_described_in_sentences(name: str) -> None:
    described = dict(fields(SCHEMAS[name]()))
    assert described
    assert [path for path, field in described.items() if not field.get("description")] == []
    descriptions = list(found(SCHEMAS[name](), "description"))
    assert [text for text in descriptions if not text[:1].isupper() or not text.endswith(".")] == []


@each
def test_the_description_names_what_the_schema_cannot_express(name: str) -> None:
    unsaid = importlib.import_module(SCHEMAS[name].__module__).UNSAID
    assert all(sentence in str(SCHEMAS[name]()["description"]) for sentence in unsaid)


@each
def test_what_editors_offer_is_valid(name: str) -> None:
    for _, field in fields(SCHEMAS[name]()):
        for value in field.get("examples", []):
            Draft202012Validator(field).validate(value)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_that_stands_alone_names_its_schema_and_fits(path: Path) -> None:
    text = path.read_text()
    modeline = MODELINE.search(text)
    kind = kind_of(text)
    if kind is None:
        assert modeline is None
        return
    assert modeline is not None, "add a modeline"
    named = (path.parent / modeline[1]).resolve()
    assert named == FOLDER / f"{kind}.schema.json"
    Draft202012Validator(json.loads(named.read_text())).validate(yaml.safe_load(text))


def kind_of(text: str) -> str | None:
    """Return which document ``text`` is, ``None`` for another kind of file."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    keys = set(content) if isinstance(content, dict) else set()
    if "entries" in keys and "version" in keys:
        return "policy"
    if "grants" in keys and "version" in keys:
        return "grants"
    if keys == {"issuers"}:
        return "issuers"
    return "tests" if keys == {"tests"} else None


@pytest.mark.parametrize("page", PAGES)
def test_the_documents_of_a_page_fit(page: str) -> None:
    """A whole document in a page names its schema, since authors copy it, and is valid."""
    for block in re.findall(r"^```yaml\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE):
        kind = kind_of(block)
        if kind is not None:
            modeline = MODELINE.search(block)
            assert modeline is not None, block
            assert modeline[1].endswith(f"{kind}.schema.json"), block
            Draft202012Validator(SCHEMAS[kind]()).validate(yaml.safe_load(block))


def test_the_chart_takes_every_field_of_a_profile() -> None:
    chart = json.loads((ROOT / "helm" / "exchanger" / "values.schema.json").read_text())
    known = chart["$defs"]["issuerProfiles"]["items"]["properties"]
    own: Any = SCHEMAS["issuers"]()
    assert set(known) == set(own["properties"]["issuers"]["items"]["properties"])
