"""Identities as the audit log shows them: keyed, so that equal ones are equal in all replicas and nobody learns them, or plain."""

import hashlib
import hmac
import re
from pathlib import Path
from typing import Final, final

import attrs

from exchanger.model.secret import Secret
from exchanger.util.key_file import MAX_FILE_BYTES, KeyFileError, read_key_lines
from exchanger.util.regular_file import UnusableFile, read_regular
from exchanger.util.shown import shown_file
from exchanger.util.text import printable

# Of the HMAC: as many as make an accidental collision impossible in practice.
KEYED_BYTES: Final = 16
# Characters of a plain identity; a ``sub`` has at most 255 (OpenID Connect Core section 2).
PLAIN_LIMIT: Final = 256
# Hexadecimal digits of a key's id.
_ID_DIGITS: Final = 8
_is_keyed: Final = re.compile(rf"[0-9a-f]{{{_ID_DIGITS}}}:[0-9a-f]{{{2 * KEYED_BYTES}}}").fullmatch


@final
@attrs.frozen
class AuditKey:
    """A key, in hexadecimal. Its id says which key an identity was written with, and nothing about the key."""

    _key: Secret
    id: str

    @classmethod
    def of(cls, key: bytes) -> "AuditKey":
        """Return the key of these bytes."""
        return cls(Secret(key.hex()), hashlib.sha256(b"exchanger audit key\0" + key).hexdigest()[:_ID_DIGITS])

    def of_identity(self, text: str) -> str:
        """Return ``text`` keyed: the key's id, a colon, and the first bytes of the HMAC-SHA-256 in hexadecimal."""
        digest = hmac.digest(bytes.fromhex(self._key.reveal()), text.encode("utf-8", "surrogatepass"), "sha256")
        return f"{self.id}:{digest[:KEYED_BYTES].hex()}"


AuditKeys = tuple[AuditKey, ...]


def read_audit_keys(path: Path) -> AuditKeys | UnusableFile:
    """Return the keys in AUDIT_KEY_FILE, of which the first one writes, or why it cannot be used. Blocks."""
    data = read_regular(path, MAX_FILE_BYTES)
    if isinstance(data, bytes):
        try:
            return tuple(AuditKey.of(key) for key in read_key_lines(data))
        except KeyFileError as error:
            data = UnusableFile(str(error))
    return UnusableFile(f"AUDIT_KEY_FILE {shown_file(path)} {data.reason}")


def plain(text: str) -> str:
    """Return ``text`` bounded, and without characters that do not print, at some of which readers split lines."""
    return printable(text, PLAIN_LIMIT)


def key_id_of(shown: str) -> str | None:
    """Return the id of the key that an identity was written with, ``None`` for a plain one."""
    return shown[:_ID_DIGITS] if _is_keyed(shown) else None
