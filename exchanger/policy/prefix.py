"""Spellings of a policy's path prefix: the texts under which one entry is found.

A prefix with escapes or non-ASCII characters is one thing in the raw path and another once a server has decoded it. An entry that is found
under each of these spellings is found by each reading of a request that keeps to them, so the readings agree.

Must not know: requests, or where spellings are stored.
"""

from exchanger.policy.percent import decode, decode_but_slashes, encode


def prefix_spellings(prefix: str) -> tuple[str, ...]:
    """Return the distinct spellings of ``prefix``, itself first: as written, as clients escape it, decoded, decoded but for slashes."""
    if "%" not in prefix and prefix.isascii():
        return (prefix,)
    path, mark, query = prefix.partition("?")
    spellings = (path, encode(path), decode(path), decode_but_slashes(path))
    return tuple(dict.fromkeys(spelling + mark + query for spelling in spellings if spelling is not None))
