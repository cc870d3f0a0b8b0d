"""Tests of the webhook with a real API server use the control plane of ``tests/sources/kube``."""

from tests.sources.kube.conftest import control_plane

__all__ = ["control_plane"]
