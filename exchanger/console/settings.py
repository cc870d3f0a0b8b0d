"""Where the console listens and who may look: the settings of this room, and the questions that whoever reads them has to ask.

Must not know: environment variables, or how a request is judged.
"""

from pathlib import Path
from typing import Final, final

import attrs

from exchanger.policy.authority import is_host, normalise_policy_host

_MAX_NAMES: Final = 64
"""Names that people reach a console by: a handful; more is a mistake."""


@final
@attrs.frozen
class ConsoleSettings:
    """CONSOLE_ADDRESS, CONSOLE_TOKEN_FILE and CONSOLE_HOSTS. ``host`` "" is every interface; ``port`` 0 is any free one.

    ``hosts`` are further names, in canonical form, under which the console may be asked for.
    """

    host: str = "127.0.0.1"
    port: int = 3003
    token_file: Path | None = None
    hosts: frozenset[str] = frozenset()


def parse_hosts(text: str) -> frozenset[str]:
    """Return the names of a comma-separated list, in canonical form.

    Raises:
        ValueError: one of them is no name of a host; the message does not repeat it.
    """
    names = frozenset(normalise_policy_host(part) for part in text.split(",") if part.strip())
    if not all(is_host(name) for name in names) or len(names) > _MAX_NAMES:
        raise ValueError(f"must be at most {_MAX_NAMES} names of hosts, separated by commas, without scheme or path")
    return names
