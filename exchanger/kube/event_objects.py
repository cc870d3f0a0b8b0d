"""What is told to the authors of policies, and the Event objects that say it. Pure.

Of an Event's two forms in ``core/v1`` this is the one that counts repetitions, which every tool shows. ``kubectl describe`` looks for
Events by the ``uid`` of the object, so the ConfigMap's is in it.

Must not know: connections, or when something is told.
Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/.
"""

import enum
import hashlib
from datetime import UTC, datetime
from typing import Final, final

import attrs

from exchanger.values.entry import FailClosedRegion, Source

COMPONENT: Final = "exchanger"
MAX_MESSAGE_BYTES: Final = 1024
"""An API server takes no longer message in the Event's newer form (https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/events.go),
and counts bytes."""
MAX_REGIONS: Final = 32
"""Regions of one document that are told: the sentences of so many fill a message, and more are not looked at."""
_MAX_NAME: Final = 253  # https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
_HASH_CHARS: Final = 16
_MORE: Final = " …"


@enum.unique
class Reason(enum.Enum):
    """Why there is an Event; the value is what tools show."""

    INVALID = "InvalidPolicy"
    """What the document says cannot be understood everywhere, and is closed there."""
    CONFLICTING = "ConflictingPolicy"
    """An entry ties with another one."""
    ACCEPTED = "PolicyAccepted"
    """The document was invalid, or an entry tied, and that is over."""

    @property
    def type(self) -> str:
        """The Event's ``type``."""
        return "Normal" if self is Reason.ACCEPTED else "Warning"


@final
@attrs.frozen
class Report:
    """What there is to say of one ConfigMap: ``text``, or where that is "" what is wrong with the ``regions`` of its document.

    ``uid`` is the ConfigMap's, "" when it is not known. ``of_ties``: it is about ties, not about the document alone.
    """

    source: Source
    reason: Reason
    text: str = ""
    regions: tuple[FailClosedRegion, ...] = attrs.field(default=(), repr=False)
    uid: str = ""
    of_ties: bool = False

    @property
    def message(self) -> str:
        """One line of at most ``MAX_MESSAGE_BYTES``."""
        return shortened(self.text or _wrongs(self.regions))

    @property
    def name(self) -> str:
        """The Event's name: the same for the same ConfigMap, reason and message, whoever says it and whenever."""
        said = f"{self.source}\0{self.uid}\0{self.reason.value}\0{self.message}"
        digest = hashlib.sha256(said.encode()).hexdigest()[:_HASH_CHARS]
        return f"{self.source.name[: _MAX_NAME - _HASH_CHARS - 1].rstrip('.-')}.{digest}"

    def event(self, now: float) -> dict[str, object]:
        """Return the Event as it is first written, at ``now`` in seconds since the epoch."""
        involved = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": self.source.namespace, "name": self.source.name}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": self.source.namespace, "name": self.name},
            "involvedObject": {**involved, **({"uid": self.uid} if self.uid else {})},
            "type": self.reason.type,
            "reason": self.reason.value,
            "message": self.message,
            "count": 1,
            "firstTimestamp": timestamp(now),
            "lastTimestamp": timestamp(now),
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
        }


def timestamp(now: float) -> str:
    """Return seconds since the epoch as the API writes them (RFC 3339, whole seconds)."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shortened(text: str) -> str:
    """Return the beginning of ``text`` in one line that prints, at most ``MAX_MESSAGE_BYTES`` long in UTF-8."""
    cut = text[:MAX_MESSAGE_BYTES]
    line = "".join(character if character.isprintable() else " " for character in cut)
    data = line.encode()  # surrogates do not print, so there are none left
    if len(data) <= MAX_MESSAGE_BYTES and len(cut) == len(text):
        return line
    return data[: MAX_MESSAGE_BYTES - len(_MORE.encode())].decode(errors="ignore") + _MORE


def _wrongs(regions: tuple[FailClosedRegion, ...]) -> str:
    parts: list[str] = []
    length = 0
    for region in regions[:MAX_REGIONS]:
        parts.append(region.reason if region.line is None else f"line {region.line}: {region.reason}")
        length += len(parts[-1])
        if length > MAX_MESSAGE_BYTES:  # as much as is shown
            break
    return "; ".join(parts)
