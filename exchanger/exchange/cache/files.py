"""The files of the shared level, read together: keys, password and authorities. They are followed, so no change needs a restart.

Must not know: the protocol of the store.
"""

import functools
import ssl
from pathlib import Path
from typing import Final, final

import attrs

from exchanger.exchange.cache.keys import CacheKey, read_keys
from exchanger.exchange.cache.settings import SharedSettings
from exchanger.model.secret import Secret, secret_problem
from exchanger.util.key_file import MAX_FILE_BYTES, KeyFileError
from exchanger.util.regular_file import UnusableFile, read_regular
from exchanger.util.shown import shown_file

# Bytes of the password; stores accept any length, and access tokens of cloud providers are the longest in use.
_MAX_PASSWORD_BYTES: Final = 16 * 1024
# Bytes of certificates: the system's own trust store has 220 KB.
_MAX_CA_BYTES: Final = 1024 * 1024
_NO_CERTIFICATES: Final = UnusableFile("must hold certificates in PEM")


@final
@attrs.frozen
class StoreFiles:
    """The content of the files. ``ca_pem`` is ``None`` for the system's trust store."""

    keys: tuple[CacheKey, ...]
    password: Secret | None = None
    ca_pem: str | None = attrs.field(default=None, repr=False)


def read_files(settings: SharedSettings) -> StoreFiles | UnusableFile:
    """Return the current version of the files; reasons begin with the variable that names the file. Blocks."""
    data = read_regular(settings.key_file, MAX_FILE_BYTES)
    if isinstance(data, UnusableFile):
        return _of("TOKEN_CACHE_KEY_FILE", settings.key_file, data)
    try:
        keys = read_keys(data, settings.namespace)
    except KeyFileError as error:
        return _of("TOKEN_CACHE_KEY_FILE", settings.key_file, UnusableFile(str(error)))
    password: Secret | None = None
    if settings.password_file is not None:
        found = _password(settings.password_file)
        if isinstance(found, UnusableFile):
            return _of("TOKEN_CACHE_PASSWORD_FILE", settings.password_file, found)
        password = found
    ca_pem: str | None = None
    if settings.ca_file is not None:
        authorities = _authorities(settings.ca_file)
        if isinstance(authorities, UnusableFile):
            return _of("TOKEN_CACHE_CA_FILE", settings.ca_file, authorities)
        ca_pem = authorities
    return StoreFiles(keys, password, ca_pem)


def _of(variable: str, path: Path, found: UnusableFile) -> UnusableFile:
    return UnusableFile(f"{variable} {shown_file(path)} {found.reason}")


def _bounded(path: Path, max_bytes: int) -> bytes | UnusableFile:
    data = read_regular(path, max_bytes)
    if isinstance(data, bytes) and len(data) > max_bytes:
        return UnusableFile(f"must not be longer than {max_bytes} bytes")
    return data


def _password(path: Path) -> Secret | UnusableFile:
    """Return the only line of the file; the end of the line is not part of it."""
    data = _bounded(path, _MAX_PASSWORD_BYTES)
    if isinstance(data, UnusableFile):
        return data
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        return UnusableFile("must be UTF-8")
    return UnusableFile("must hold one line") if secret_problem(text) else Secret(text)


def _authorities(path: Path) -> str | UnusableFile:
    data = _bounded(path, _MAX_CA_BYTES)
    if isinstance(data, UnusableFile):
        return data
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        return _NO_CERTIFICATES
    return text if _are_certificates(text) else _NO_CERTIFICATES


# Once for each text: the files are read every second, and a whole trust store takes 30 ms, in which no other thread runs.
@functools.lru_cache(maxsize=1)
def _are_certificates(text: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ValueError, ssl.SSLError):
        return False
    return True
