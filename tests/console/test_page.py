import re
from pathlib import Path

from exchanger.console.page import load_page, page_of


def test_the_files_of_a_folder_are_served_at_their_places(tmp_path: Path) -> None:
    (tmp_path / "style").mkdir()
    for name in ("index.html", "app.js", "style/base.css", "notes.txt", ".hidden"):
        (tmp_path / name).write_text(name)
    page = page_of(tmp_path)

    assert {path: asset.content for path, asset in page.items()} == {
        "/": b"index.html",
        "/assets/app.js": b"app.js",
        "/assets/style/base.css": b"style/base.css",
    }
    assert len({asset.tag for asset in page.values()}) == 3
    assert page_of(tmp_path / "none") == {}


def test_all_that_the_packaged_page_asks_for_is_there() -> None:
    page = load_page()
    index = page["/"].content.decode()
    asked = {f"/{path}" for path in re.findall(r'(?:src|href)="/?(assets/[^"]+)"', index)}

    assert asked
    assert asked <= page.keys()
