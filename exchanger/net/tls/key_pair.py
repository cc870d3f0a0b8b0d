"""Loads a certificate and its key into a TLS context, or says why not. The key must not be encrypted, since no password can be given."""

import ssl
from pathlib import Path
from typing import Final, Never, final

from exchanger.util.shown import shown_file

# OpenSSL's messages, depending on its version, for a key that does not belong to the certificate; the last for a key of another kind.
_MISMATCHES: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})

# The same where it finds no PEM, or none that it can decode.
_UNREADABLE: Final = frozenset({None, "", "PEM_LIB", "NO_START_LINE"})


@final
class _KeyIsEncryptedError(Exception):
    pass


def _no_password() -> Never:
    # Without this, OpenSSL would prompt on the terminal and wait.
    raise _KeyIsEncryptedError


def load_key_pair(context: ssl.SSLContext, cert_file: Path, key_file: Path | None = None, *, certificate: str = "", key: str = "") -> str:
    """Load the chain in ``cert_file`` with the key in ``key_file``, or in the same file; return their problem, "" if there is none.

    ``certificate`` and ``key`` are the names that the operator knows, if these are not the files. Nothing of their content is returned.

    Raises:
        OSError: a file cannot be read
    """
    certificate = certificate or f"the certificate in {shown_file(cert_file)}"
    key = key or f"the key in {shown_file(key_file or cert_file)}"
    try:
        context.load_cert_chain(cert_file, key_file, _no_password)
    except _KeyIsEncryptedError:
        return f"{key} is encrypted; it must not have a password"
    except ssl.SSLError as error:
        if error.reason in _MISMATCHES:
            return f"{key} does not belong to {certificate}; of several certificates the first counts"
        if error.reason in _UNREADABLE:
            return f"{key if _is_readable(cert_file) else certificate} cannot be read by OpenSSL"
        return f"{certificate} and {key} cannot be used: {error.reason}"  # such as EE_KEY_TOO_SMALL, which OpenSSL says of the certificate
    return ""


def _is_readable(cert_file: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cert_file)
    except ssl.SSLError:
        return False
    return True
