"""Envoy external authorization that exchanges the caller's token for one issued for the upstream (RFC 8693)."""

__version__ = "0.1.0"
