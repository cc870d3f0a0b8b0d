"""The service beside a real Envoy, a fake token endpoint and an upstream that echoes: to try, to show, and to check.

Nothing here belongs to the service. The demo starts it as users do, and talks to it through Envoy.
"""

from exchanger.model.errors import ExchangerError


class DemoError(ExchangerError):
    """The demo cannot continue; the message says why, and what to do about it."""
