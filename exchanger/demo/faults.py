"""Faults of the demo, each with a message for whoever started it."""

from exchanger.errors import ExchangerError


class DemoError(ExchangerError):
    """The demo cannot go on; the message says why, and what to do if something can be done."""


class ChildEndedError(DemoError):
    """A process that has to run as long as the demo ended by itself."""


class NoAnswerError(ExchangerError):
    """An HTTP server could not be reached, took too long, or sent something that is no answer."""
