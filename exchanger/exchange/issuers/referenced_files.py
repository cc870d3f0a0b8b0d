"""Files that profiles refer to, followed like Secrets: keys, certificates, assertions and CA certificates.

Must not know: their content.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from rpds import HashTrieMap

from exchanger.exchange.issuers.secrets import SecretData, SecretFault, SecretProblem
from exchanger.exchange.issuers.value_sources import CONTENT, FileSet
from exchanger.model.secret import Secret
from exchanger.net.network import RunSync
from exchanger.util.follow_file import HANGS, FileFollower
from exchanger.util.regular_file import UnusableFile, read_regular
from exchanger.util.shown import shown_file

# Bytes of one file; the system's own trust store has 220 KB.
MAX_BYTES: Final = 1024 * 1024
# Seconds between two reads. A version applies when two reads found it, so a change takes effect within two seconds.
POLL_S: Final = 0.7

_TEXT: Final = UnusableFile("is not UTF-8")
_LARGE: Final = UnusableFile(f"is larger than {MAX_BYTES} bytes")


async def follow(files: FileSet, learn: Callable[[SecretData | SecretProblem], None], run_sync: RunSync) -> NoReturn:
    """Call ``learn`` with the first state of ``files`` and then with each change, until cancelled."""
    hangs = SecretProblem(SecretFault.UNREACHABLE, f"it {HANGS}")
    follower = FileFollower[SecretData | SecretProblem](partial(read_files, files), hangs, run_sync, POLL_S, first_at_once=True)
    await follower.run_settled(learn)


def read_files(files: FileSet) -> SecretData | SecretProblem:
    """Return the content of ``files``; blocks while they are read."""
    parts: list[str] = []
    for path in files.paths:
        found = _text(path)
        if isinstance(found, UnusableFile):
            which = "it" if len(files.paths) == 1 else shown_file(path)
            return SecretProblem(SecretFault.UNREACHABLE, f"{which} {found.reason}")
        parts.append(found.strip())
    content = "\n".join(parts)
    return SecretData(hashlib.sha256(content.encode()).hexdigest(), HashTrieMap({CONTENT: Secret(content)}))


def _text(path: str) -> str | UnusableFile:
    data = read_regular(Path(path), MAX_BYTES)
    if isinstance(data, UnusableFile):
        return data
    if len(data) > MAX_BYTES:
        return _LARGE
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _TEXT
