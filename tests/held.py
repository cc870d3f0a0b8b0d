"""What an exchange pipeline holds for requests, found by a walk through all that it keeps: no stage, queue or table is named here."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import attrs

from exchanger.exchange.call import CallExchange
from exchanger.exchange.coalesce import CoalescedExchange, ExchangeTicket
from exchanger.exchange.pipeline import ExchangePipeline
from exchanger.exchange.stage import PassThrough, VerifiedRequest
from exchanger.net.call import EndpointCall
from exchanger.net.concurrency import ConcurrencyLimit

# A request in a stage, or the call that is made for it.
_ROWS: Final = (VerifiedRequest, ExchangeTicket, CoalescedExchange, PassThrough, CallExchange, EndpointCall)


def machines(pipeline: ExchangePipeline) -> list[object]:
    """Return ``pipeline`` and all objects of the service that it leads to, apart from values."""
    found: list[object] = []
    # By id: the object itself, so that none is freed meanwhile.
    seen: dict[int, object] = {}
    left: list[object] = [pipeline]
    while left:
        if id(it := left.pop()) in seen:
            continue
        seen[id(it)] = it
        if isinstance(it, Mapping):
            left += [*it, *it.values()]
        elif isinstance(it, list | tuple | deque | AbstractSet):
            left += it
        elif attrs.has(kind := type(it)) and kind.__hash__ is object.__hash__ and kind.__module__.startswith("exchanger."):
            found.append(it)
            # A gRPC call has some fields only when it needs them.
            left += [getattr(it, field.name, None) for field in attrs.fields(kind)]
    return found


def held(machines: Iterable[object]) -> dict[str, int]:
    """Return the rows of requests and the permits in use among ``machines``, counted by name."""
    counts = Counter[str]()
    for it in machines:
        if isinstance(it, _ROWS):
            counts[type(it).__name__] += 1
        elif isinstance(it, ConcurrencyLimit):
            counts += Counter(permits=it.in_flight, queued=it.queued)
    return dict(counts)
