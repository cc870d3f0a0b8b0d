"""The service beside a real Envoy, a fake token endpoint and an upstream that echoes: to try, to show, and to check.

Nothing here belongs to the service; it starts the service as users do and talks to it through Envoy alone.
"""
