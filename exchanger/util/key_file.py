"""Files of keys: one key a line, in base64 or base64url, the newest first.

Must not know: where the file is, or what the keys are for.
"""

import base64
import binascii
from typing import Final

KEY_BYTES: Final = 32
# A rotation needs two, a rotation that overtakes another one three.
MAX_KEYS: Final = 4
# Of the file: the keys, with room for blank lines.
MAX_FILE_BYTES: Final = 4096


class KeyFileError(ValueError):
    """A key file that cannot be used. The message never quotes the file."""


def read_key_lines(data: bytes) -> tuple[bytes, ...]:
    """Return the different keys in a file, in order. Blank lines are ignored.

    Raises:
        KeyFileError: there is none, there are too many, or a line is not a key of 32 bytes
    """
    if len(data) > MAX_FILE_BYTES:
        raise KeyFileError(f"must not be longer than {MAX_FILE_BYTES} bytes")
    lines = [(number, line.strip()) for number, line in enumerate(data.split(b"\n"), 1)]
    keys: list[bytes] = []
    for number, line in lines:
        if not line:
            continue
        key = _decoded(line)
        if key is None:
            raise KeyFileError(f"line {number} must be {KEY_BYTES} random bytes in base64, as from: openssl rand -base64 {KEY_BYTES}")
        if key not in keys:
            keys.append(key)
    if not keys:
        raise KeyFileError("must hold a key")
    if len(keys) > MAX_KEYS:
        raise KeyFileError(f"must hold at most {MAX_KEYS} keys")
    return tuple(keys)


def _decoded(line: bytes) -> bytes | None:
    """Return the key, ``None`` if it is not one. The same byte 32 times is not a key but a placeholder left in a template."""
    try:
        key = base64.b64decode(line.replace(b"-", b"+").replace(b"_", b"/"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES and len(set(key)) > 1 else None
