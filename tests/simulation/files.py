"""How files are written, well and badly, by editors, scripts and kubelet."""

import os
from pathlib import Path


def put(path: Path, text: bytes, how: str, number: int) -> None:
    """Write a file by a rename, unless ``how`` says otherwise, or let something else have its place. Links have a ``number`` each."""
    match how:
        case "deleted" | "folder" | "dangling" | "pipe":
            clear(path)
            if how == "folder":
                path.mkdir()
            elif how == "dangling":
                path.symlink_to("nowhere")
            elif how == "pipe":
                os.mkfifo(path)
        case "in place" | "in pieces" if path.is_file() and not path.is_symlink():
            path.write_bytes(text)
        case _:
            new = path.with_name(f".{path.name}.{number}")
            new.write_bytes(text)
            if how == "symlink":
                link = new.with_name(f"{new.name}.link")
                link.symlink_to(new.name)
                new = link
            if path.is_dir():
                clear(path)
            new.replace(path)


def clear(path: Path) -> None:
    """Remove what is there."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
