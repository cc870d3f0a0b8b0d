"""Envoy external authorization that trades the caller's token for one meant for the upstream (RFC 8693)."""

__version__ = "0.1.0"
