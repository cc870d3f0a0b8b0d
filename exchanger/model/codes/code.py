"""The definition of a code: the same words for a message, its page in the reference, and the rules of other tools.

Must not know: which codes exist, or who finds problems.
"""

import enum
from typing import Final, final

import attrs


@enum.unique
class Severity(enum.Enum):
    """``ERROR``: something is not active, or requests are refused. ``WARNING``: probably a mistake.

    ``NOTICE``: valid, and often meant, but worth a look. Only notices leave the exit status of ``exchanger check`` at 0.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


@enum.unique
class Example(enum.Enum):
    """The kind of a code's example."""

    POLICY = "a policy document"
    # Namespaces and ConfigMaps.
    MANIFESTS = "manifests"
    # A policy document under the grants of ``Code.grants``.
    GRANTED_POLICY = "a policy document, and a grants file"
    GRANTS = "a grants file"
    ISSUERS = "a file of issuer profiles"
    # Behaviour of a token endpoint, or of the network to it: no document.
    SITUATION = "a situation"


@final
@attrs.frozen
class Code:
    """A kind of problem.

    ``name``, such as ``POL-1101``, never changes its meaning. ``sentence`` states the problem, ``causes`` its usual causes, and ``remedy``
    what to do; all are whole sentences. ``example`` triggers it.
    """

    name: str
    sentence: str
    causes: tuple[str, ...]
    remedy: str
    example: str = attrs.field(repr=False)
    kind: Example = Example.POLICY
    severity: Severity = Severity.ERROR
    grants: str = attrs.field(default="", repr=False)

    def __str__(self) -> str:
        return self.name


_ENTRY: Final = """\
version: v1
entries:
  - match:
      host: {host}
      pathPrefix: {prefix}
{match}    action: {action}
{more}"""


def policy(*, host: str = "api.example.com", prefix: str = "/orders", match: str = "", action: str = "deny", more: str = "") -> str:
    """Return a policy with one entry; ``match`` and ``more`` are further lines of the match and the entry, without indentation."""

    def lines(text: str, indentation: str) -> str:
        return "".join(f"{indentation}{line}\n" for line in text.splitlines())

    return _ENTRY.format(host=host, prefix=prefix, match=lines(match, " " * 6), action=action, more=lines(more, " " * 4))
