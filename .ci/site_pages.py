"""Builds the documentation site in build/site with strict links, and writes llms.txt and the Markdown beside the HTML.

The pages are those of docs/, the READMEs of the charts and the files at the root. Links between them are adapted; a link to any other
file is reduced to its text. A Mermaid diagram is replaced by its picture (``diagrams.py``), so that a page loads nothing from other sites.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

from exchanger.model.codes.registry import CODES

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = ROOT / "build" / "pages"
SITE: Final = ROOT / "build" / "site"
DOCS: Final = ROOT / "docs"
OUTSIDE: Final = {
    "README.md": "index.md",
    "docs/README.md": "contents.md",
    "helm/exchanger/README.md": "reference/chart.md",
    "helm/exchanger-demo/README.md": "reference/demo-chart.md",
    **{name: f"project/{name}" for name in ("CHANGELOG.md", "CONTRIBUTING.md", "NOTES.md", "SECURITY.md")},
}
LINK: Final = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!\w+:)([^)#\s]*)(#[^)\s]*)?\)")
SUMMARY_CHARS: Final = 160
DIAGRAM: Final = re.compile(r"<!-- diagram: ([a-z-]+), ([^\n]+) -->\n```mermaid\n(.*?)```\n", re.DOTALL)
FENCE: Final = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
LOADED: Final = re.compile(r"""<(?:script|img|iframe)[^>]* src=["']?(?:https?:)?//|<link[^>]*stylesheet[^>]* href=["']?(?:https?:)?//""")


class SiteError(Exception):
    """The site cannot be built; the message says why."""


def places() -> dict[Path, str]:
    """Return where on the site each file goes."""
    found = {ROOT / path: place for path, place in OUTSIDE.items()}
    for path in sorted(DOCS.rglob("*")):
        if path.is_file() and path not in found:
            found[path] = re.sub(r"README\.md$", "index.md", str(path.relative_to(DOCS)))
    return found


def picture_of(name: str, source: str) -> Path:
    """Return the picture of a diagram.

    Raises:
        SiteError: it is missing, or of another version of the diagram.
    """
    path = DOCS / "images" / f"{name}.svg"
    if not path.exists() or hashlib.sha256(source.encode()).hexdigest() not in path.read_text():
        raise SiteError(f"{path.relative_to(ROOT)} does not show the diagram: run .ci/diagrams.py")
    return path


def page(source: Path, at: dict[Path, str]) -> str:
    """Return the text of ``source`` as the site has it."""

    def relative(target: Path) -> str:
        return os.path.relpath(at[target], Path(at[source]).parent)

    def link(match: re.Match[str]) -> str:
        text, path, anchor = match[1], match[2], match[3] or ""
        if not path:
            return match[0]
        target = (source.parent / path).resolve()
        if target.is_dir() and target / "README.md" in at:
            target /= "README.md"
        return f"[{text}]({relative(target)}{anchor})" if target in at else text

    def diagram(match: re.Match[str]) -> str:
        return f"![{match[2]}]({relative(picture_of(match[1], match[3]))})\n"

    text = DIAGRAM.sub(diagram, source.read_text())
    return "".join(part if part.lstrip().startswith("```") else LINK.sub(link, part) for part in FENCE.split(text))


def collect() -> None:
    """Write all pages, and what they show, to PAGES."""
    shutil.rmtree(PAGES, ignore_errors=True)
    at = places()
    for source, place in at.items():
        target = PAGES / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            target.write_text(page(source, at))
        else:
            shutil.copyfile(source, target)


def entries(nav: list[Any]) -> list[str]:
    """Return the pages of ``nav`` in order."""
    found: list[str] = []
    for item in nav:
        if isinstance(item, str):
            found.append(item)
        else:
            for value in item.values():
                found += entries(value if isinstance(value, list) else [value])
    return found


def summary(prose: str) -> str:
    """Return the first sentence, and further ones while they are short."""
    found = ""
    for sentence in re.split(r"(?<=\.) (?=[A-Z`])", prose):
        if found and len(found) + len(sentence) > SUMMARY_CHARS:
            break
        found = f"{found} {sentence}".strip()
    return found


def llms(project: dict[str, Any]) -> str:
    """Return llms.txt (https://llmstxt.org): each page with its title and first sentences."""
    lines = [f"# {project['site_name']}", "", f"> {project['site_description']}"]
    for section in project["nav"]:
        for title, inside in section.items():
            lines += ["", f"## {title}", ""]
            for name in entries(inside if isinstance(inside, list) else [inside]):
                heading, _, rest = (PAGES / name).read_text().partition("\n")
                prose = next((part for part in rest.split("\n\n") if re.match(r"\s*[A-Z`*\[]", part)), "")
                plain = " ".join(LINK.sub(r"\1", re.sub(r"\]\(\w+:[^)]*\)", "]", prose)).split()).replace("[", "").replace("]", "")
                lines.append(f"- [{heading.removeprefix('# ')}]({name}): {summary(plain)}")
    return "\n".join(lines) + "\n"


def build() -> None:
    """Build the site.

    Raises:
        SiteError: a link leads nowhere, a page is in no menu, something would be loaded from elsewhere, or the search lacks a code.
    """
    collect()
    project = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    pages = {str(path.relative_to(PAGES)) for path in PAGES.rglob("*.md")}
    if lost := pages ^ set(entries(project["nav"])):
        raise SiteError(f"zensical.toml does not have the pages that there are: {', '.join(sorted(lost))}")
    shutil.rmtree(SITE, ignore_errors=True)
    done = subprocess.run((Path(sys.executable).parent / "zensical", "build", "--strict", "--clean"), cwd=ROOT, check=False)
    if done.returncode:
        raise SiteError("a link leads nowhere")
    for name in pages:
        shutil.copyfile(PAGES / name, SITE / name)
    (SITE / "llms.txt").write_text(llms(project))
    if loading := [str(path.relative_to(SITE)) for path in SITE.rglob("*.html") if LOADED.search(path.read_text())]:
        raise SiteError(f"pages that load something from elsewhere: {', '.join(loading)}")
    titles = {item["title"] for item in json.loads((SITE / "search.json").read_text())["items"]}
    if missing := [code.name for code in CODES if not any(code.name in title for title in titles)]:
        raise SiteError(f"codes that the search does not find as a section: {', '.join(missing)}")


if __name__ == "__main__":
    try:
        build()
    except SiteError as error:
        sys.exit(f"site: {error}")
