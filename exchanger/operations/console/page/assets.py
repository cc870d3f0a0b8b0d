"""The page's files, read once from the package and served from memory."""

import hashlib
import importlib.resources
from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Final, final

import attrs

from exchanger.net.http.message import Headers, Request, Response

INDEX: Final = "index.html"
FOLDER: Final = "/assets/"
# Other kinds of files in the folder do not belong to the page.
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


@final
@attrs.frozen
class Asset:
    """One file; ``tag`` is its entity tag (RFC 9110 section 8.8.3)."""

    content: bytes = attrs.field(repr=False)
    media_type: str
    tag: str

    def response(self, request: Request) -> Response:
        """Return the file, or 304 if the client has it."""
        # Browsers revalidate each time, since a name does not tell to which version of the service it belongs.
        headers: Headers = (("ETag", self.tag), ("Cache-Control", "no-cache"))
        known = (part.strip(" \t") for value in request.values("if-none-match") for part in value.split(","))
        if any(tag.removeprefix("W/") == self.tag for tag in known):
            return Response(304, headers=headers)
        return Response(200, (("Content-Type", self.media_type), *headers), self.content)


# Assets by the path that they are served at.
Page = Mapping[str, Asset]


def load_page() -> Page:
    """Return the console's page."""
    return page_of(importlib.resources.files("exchanger.operations.console.page"))


def page_of(folder: Traversable) -> Page:
    """Return the files in ``folder`` and below, at ``/`` and ``/assets/…``; nothing when there is no such folder."""
    found = {FOLDER + name: asset for name, asset in _assets(folder, "")} if folder.is_dir() else {}
    index = found.pop(FOLDER + INDEX, None)
    return found if index is None else {"/": index, **found}


def _assets(folder: Traversable, prefix: str) -> Iterator[tuple[str, Asset]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = prefix + entry.name
        if entry.is_dir():
            yield from _assets(entry, f"{name}/")
        elif (media_type := _TYPES.get(PurePosixPath(name).suffix)) is not None:
            content = entry.read_bytes()
            yield name, Asset(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
