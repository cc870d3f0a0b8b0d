"""Draws the Mermaid diagrams of the documentation as SVG, for the site, which loads no scripts from elsewhere.

    npm pack mermaid@11 && tar -xf mermaid-11.*.tgz && .venv/bin/python .ci/diagrams.py package/dist/mermaid.min.js

Needs Chromium (``tools.py``). Run it after changing a diagram; ``site_pages.py`` fails if a picture is out of date.
"""

import hashlib
import sys
from pathlib import Path

import site_pages  # beside this file
import tools
from playwright.sync_api import sync_playwright

DRAW = "async ([name, source]) => (await mermaid.render(name, source)).svg"
# Labels as SVG text: HTML within SVG is not shown in an <img>.
SETTINGS = """() => mermaid.initialize({
    theme: "neutral", fontFamily: "sans-serif", htmlLabels: false, flowchart: {htmlLabels: false, wrappingWidth: 260},
})"""


def main(mermaid: str) -> None:
    """Draw every diagram with ``mermaid``, a file of the library."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=tools.where("chromium"), args=["--no-sandbox"])
        page = chromium.new_page()
        page.set_content("<body></body>")
        page.add_script_tag(path=mermaid)
        page.evaluate(SETTINGS)
        for source in sorted(site_pages.DOCS.rglob("*.md")):
            for name, _, text in site_pages.DIAGRAM.findall(source.read_text()):
                svg = page.evaluate(DRAW, [name, text]).replace('style="', 'style="background: white; ', 1)  # on dark pages too
                digest = hashlib.sha256(text.encode()).hexdigest()
                target: Path = site_pages.DOCS / "images" / f"{name}.svg"
                target.write_text(f"<!-- Drawn by .ci/diagrams.py; sha256 of the source: {digest} -->\n{svg}\n")
                print(target)
        chromium.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
