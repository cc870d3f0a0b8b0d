"""AUDIT_LOG and the variables that belong to it."""

from pathlib import Path
from typing import Final, final

import attrs

from exchanger.authz.audit.identities import AuditKeys

STDOUT: Final = "stdout"
OFF: Final = "off"


@final
@attrs.frozen
class AuditSettings:
    """Where lines go: ``path``, or standard output if it is ``None``.

    ``required``: no exchanged token is handed out before its line is written. ``key_file`` keys identities; with ``None`` they are plain.
    ``keys`` is the content of the file at startup.
    """

    path: Path | None = None
    required: bool = False
    key_file: Path | None = None
    keys: AuditKeys = ()


def parse_target(text: str) -> Path | None:
    """Return the path in AUDIT_LOG, ``None`` for standard output.

    Raises:
        ValueError: it is neither ``stdout`` nor an absolute path.
    """
    if text.lower() == STDOUT:
        return None
    path = Path(text)
    if not path.is_absolute() or text.endswith("/"):
        raise ValueError("must be off, stdout or the absolute path of a file")
    return path
