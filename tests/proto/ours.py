"""All that ``exchanger._proto`` declares, and the way to ask the witness about it."""

import importlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FileDescriptor, ServiceDescriptor

from tests.proto.tree import messages

ROOT = Path(__file__).resolve().parent.parent.parent
PROTO_FILES = tuple(sorted(path.relative_to(ROOT / "proto").as_posix() for path in (ROOT / "proto").rglob("*.proto")))
# Seconds; the witness imports some hundred modules, on a machine that may be busy.
WITNESS_TIMEOUT = 120


def module_name(proto: str, suffix: str = "_pb2") -> str:
    return f"exchanger._proto.{proto.removesuffix('.proto').replace('/', '.')}{suffix}"


FILES: tuple[FileDescriptor, ...] = tuple(importlib.import_module(module_name(name)).DESCRIPTOR for name in PROTO_FILES)
MESSAGES: tuple[Descriptor, ...] = tuple(
    message for file in FILES for top in file.message_types_by_name.values() for message in messages(top)
)
SERVICES: tuple[ServiceDescriptor, ...] = tuple(service for file in FILES for service in file.services_by_name.values())


def has_witness(full_name: str) -> bool:
    """Tell whether an official class is installed: not for gRPC's own health and reflection services.

    OpenTelemetry's are there in a version of their own; see ``test_opentelemetry``.
    """
    return not full_name.startswith(("grpc.", "opentelemetry."))


def missing(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return True
    return False


needs_witness = pytest.mark.skipif(missing("xds-protos"), reason="xds-protos is not installed")


def ask(questions: Iterable[dict[str, Any]]) -> list[Any]:
    """Return the witness's answers, in order."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.proto.witness"],
        cwd=ROOT,
        input=json.dumps(list(questions)),
        capture_output=True,
        text=True,
        check=False,
        timeout=WITNESS_TIMEOUT,
    )
    assert result.returncode == 0, result.stderr
    answers: list[Any] = json.loads(result.stdout)
    return answers
