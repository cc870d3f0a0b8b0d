"""What a message shows of an unusable setting: its length, since a secret may be in the wrong place.

A path is shown if its folder exists: then it is one, and the place to look at. A key in place of a path names no folder.

Must not know: settings, or who reads them.
"""

import re
from pathlib import Path
from typing import Final

# A mount right below the root, such as /policies. Nearly every key has a digit, or a letter of the other case.
_is_mount: Final = re.compile(r"/[a-z]{1,16}").fullmatch


def measured(text: str) -> str:
    """Return in words how long ``text`` is."""
    return "a text of 1 character" if len(text) == 1 else f"a text of {len(text)} characters"


def shown_file(path: Path | str) -> str:
    """Return ``path`` if something shows that it is one, and otherwise how long it is. Looks at the file system."""
    return str(path) if is_path(Path(path)) else f"({measured(str(path))})"


def is_path(path: Path) -> bool:
    """Return whether something shows that ``path`` is one."""
    # The root is the folder of any text that begins with a slash, as every 64th key in Base64 does.
    below_root = path.parent == Path(path.anchor)
    try:
        folder = _is_mount(str(path)) is not None if below_root else path.parent.is_dir()
        return path.is_file() or (path.is_absolute() and folder)
    except OSError:  # too long for a path, for one
        return False
