"""What entries and requests have beside a host, a plain prefix and GET, drawn from the alphabet of the plain model."""

from collections.abc import Sequence
from random import Random
from typing import Any, Final, final

import attrs

from exchanger.model.entry import PathType
from tests.property.policy_model import HEADER_NAMES, HEADER_VALUES, METHODS, ODDITIES, QUERIES

GRAMMAR: Final = ("wildcards", "methods", "headers", "queries", "path types", "case", "allow", "odd paths")
# The paths of plain requests, and a host on which something is always denied, in worlds in which denials move.
PATHS: Final = ("/a", "/a/b", "/c", "/c/d")
MOVING_HOST: Final = "moving.example.com"
# Requests that differ from plain ones in a world with all of the grammar.
_REQUESTS: Final = 16


@final
@attrs.frozen
class Request:
    """What a gateway asks about. Names of ``fields`` differ."""

    host: str
    path: str
    method: str = "GET"
    fields: tuple[tuple[str, str], ...] = ()


@final
@attrs.define(eq=False)
class Grammar:
    """Draws for these ``kinds``, each from a stream of its own, which ``random`` returns by its name."""

    kinds: frozenset[str]
    _streams: dict[str, Random]

    def _draws(self, kind: str, share: float = 0.4) -> Random | None:
        stream = self._streams[kind]
        return stream if kind in self.kinds and stream.random() < share else None

    def entry(self, written: dict[str, Any]) -> None:
        """Add to an entry with an exchange or a denial."""
        match = written["match"]
        if draw := self._draws("wildcards", 0.3):
            match["host"] = f"*.{match['host'] if draw.random() < 0.7 else 'example.com'}"
        if draw := self._draws("methods"):
            match["methods"] = sorted({draw.choice(METHODS), draw.choice(METHODS)})
        if draw := self._draws("headers"):
            match["headers"] = [{"name": draw.choice(HEADER_NAMES), "value": draw.choice(HEADER_VALUES)}]
        if draw := self._draws("path types"):
            match["pathType"] = draw.choice([one.value for one in PathType])
        if self._draws("case"):
            match |= {"caseInsensitive": True, "pathPrefix": match["pathPrefix"].upper()}
        if self._draws("allow", 0.2):
            written.pop("exchange", None)
            written["action"] = "allow"

    def requests(self, hosts: Sequence[str], paths: Sequence[str]) -> list[Request]:
        """Return a plain request for each host and path, and some that are not plain."""
        found = dict.fromkeys(Request(host, path) for host in hosts for path in paths)
        for number in range(_REQUESTS if self.kinds else 0):
            request = Request(hosts[number % len(hosts)], paths[number % len(paths)])
            if draw := self._draws("wildcards"):
                request = attrs.evolve(request, host=draw.choice(["x.", "y.x."]) + request.host)
            if draw := self._draws("methods"):
                request = attrs.evolve(request, method=draw.choice(METHODS))
            if draw := self._draws("headers", 0.6):
                values = {name: draw.choice([*HEADER_VALUES, "1,2"]) for name in HEADER_NAMES if draw.random() < 0.5}
                request = attrs.evolve(request, fields=tuple(values.items()))
            if self._draws("case"):
                request = attrs.evolve(request, path=request.path.upper())
            if draw := self._draws("odd paths"):
                request = attrs.evolve(request, path=draw.choice([one for one in ODDITIES if "!" not in one]) + request.path)
            if draw := self._draws("queries"):
                request = attrs.evolve(request, path=request.path + draw.choice(QUERIES))
            found[request] = None
        return [*found]
