"""Tests of the webhook with a real API server use the control plane of ``tests/kube``."""

from tests.kube.conftest import control_plane

__all__ = ["control_plane"]
