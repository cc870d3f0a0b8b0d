"""The faults that a proxy before an API server can have, and the requests that they are meant for."""

import enum
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs

Editor = Callable[[bytes], tuple[bytes, ...]]
"""Returns the lines that take the place of a line of a watch; each has its newline."""


@enum.unique
class Kind(enum.Enum):
    """What is asked for."""

    LIST = "list"
    WATCH = "watch"
    OTHER = "other"


@attrs.frozen
class Seen:
    """A request, and the Trio clock's time when it came."""

    kind: Kind
    at: float


@attrs.frozen
class Pass:
    """No fault."""


@attrs.frozen
class Refuse:
    """Nobody listens on the port, and the connections there are break off."""


@attrs.frozen
class Stall:
    """Connections stay and new ones are accepted, and not a byte comes or goes."""


@attrs.frozen
class Delay:
    """Each piece of an answer comes ``seconds`` late."""

    seconds: float


@attrs.frozen
class Cut:
    """Each answer breaks off ``after`` so many bytes of its body, counted from the moment at which the fault begins."""

    after: int


@attrs.frozen
class Answer:
    """Requests of these kinds are answered with ``status`` here; watches that are open go on. ``resource`` "" means each."""

    status: int
    kinds: frozenset[Kind] = frozenset({Kind.LIST, Kind.WATCH})
    retry_after: str = ""
    resource: str = ""

    def is_meant_for(self, target: str) -> bool:
        """Return whether a request for ``target`` is answered so."""
        return kind_of(target) in self.kinds and urlsplit(target).path.endswith(f"/{self.resource}" if self.resource else "")


@attrs.frozen(eq=False)
class Edit:
    """The lines of each watch pass an editor of its own."""

    editor: Callable[[], Editor]


Fault = Pass | Refuse | Stall | Delay | Cut | Answer | Edit


def status_object(code: int) -> dict[str, Any]:
    """Return a Status as API servers send it."""
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "a fault of the test", "reason": "Test", "code": code}


def kind_of(target: str) -> Kind:
    parts = urlsplit(target)
    if "watch" in parse_qs(parts.query):
        return Kind.WATCH
    return Kind.LIST if parts.path.endswith(("/namespaces", "/configmaps")) else Kind.OTHER
