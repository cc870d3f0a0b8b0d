"""Tests of charts need helm; those that install them need the control plane of ``tests/kube`` too."""

from tests.kube.conftest import control_plane

__all__ = ["control_plane"]
