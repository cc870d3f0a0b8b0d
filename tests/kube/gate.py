"""A gate in the parsing of documents, so that a worker thread can be held there."""

import threading

import pytest
import trio

from exchanger.policy import selection
from exchanger.policy.document import PolicyDocument, parse_document
from exchanger.values.entry import Source

PATIENCE_S = 60.0


class Gate:
    """Counts what is parsed; when shut, threads wait in front of it. On the event loop it is always open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parsed: list[Source] = []
        self.loop_thread = threading.get_ident()
        self._open = threading.Event()
        self._open.set()
        self._reached = threading.Event()
        self._passed = threading.Event()
        monkeypatch.setattr(selection, "parse_document", self.parse)

    def parse(self, source: Source, text: str | None, issuers: frozenset[str]) -> PolicyDocument:
        self.parsed.append(source)
        if threading.get_ident() != self.loop_thread:
            self._reached.set()
            assert self._open.wait(PATIENCE_S)
            self._passed.set()
        return parse_document(source, text, issuers)

    def shut(self) -> None:
        for event in (self._open, self._reached, self._passed):
            event.clear()

    def open(self) -> None:
        self._open.set()

    async def reached(self) -> None:
        """Wait until a thread is in front of the gate."""
        await _happens(self._reached)

    async def passed(self) -> None:
        """Wait until a thread has gone through."""
        await _happens(self._passed)


async def _happens(event: threading.Event) -> None:
    assert await trio.to_thread.run_sync(event.wait, PATIENCE_S)
