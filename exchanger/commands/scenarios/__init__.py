"""Scenarios: requests with the answers that are expected of them, run against the demo's gateway or any other.

This room knows nothing of the demo's processes. It talks to a gateway over HTTP, as any client does.
"""
