"""What profiles are checked against, and the rules that several of their fields share, with their schemas. Pure.

Must not know: files, clocks, or the content of Secrets.
"""

import enum
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final, TypeVar, final

import attrs

from exchanger.formats.yaml.text_rules import whole, words_or
from exchanger.model.issuer import AuthMethod
from exchanger.net.endpoint import EndpointProblem, read_endpoint
from exchanger.util.json_schema import Schema, about

# No endpoint needs as many parameters, headers, issuers or audiences.
MAX_ITEMS: Final = 16

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)


@final
@attrs.frozen
class ProfileRules:
    """Defaults for profiles: the authentication method, and the namespace of references ("": none).

    ``with_secrets``: there is an API server to resolve references. ``allow_http``: addresses of issuers need no TLS.
    """

    auth_method: AuthMethod = AuthMethod.CLIENT_SECRET_BASIC
    namespace: str = ""
    with_secrets: bool = False
    allow_http: bool = False

    def host_of(self, address: str) -> str | EndpointProblem:
        """Return the host of an address, as metrics name it, or why it cannot be used."""
        found = read_endpoint(address, allow_http=self.allow_http)
        return found if isinstance(found, EndpointProblem) else found.host


def described(
    description: str, says: Mapping[str, object] | None = None, *, default: object = attrs.NOTHING, nullable: bool = False
) -> Any:
    """Return a field of a class that is read from the file, with what its schema ``says`` beyond its type.

    ``nullable``: null and a blank text count as missing. Only fields of the Go service are, and those without which nothing is weaker.
    """
    return attrs.field(default=default, metadata=about(description, says, nullable=nullable))


def words_of(values: type[E]) -> dict[str, E]:
    """Return the members of an enum by the words for them."""
    return {member.value: member for member in values}


def chosen(field: str, written: str, words: Mapping[str, T], default: T, problems: list[str]) -> T:
    """Return the one of ``words`` that the text of ``field`` is, ``default`` if it is none. A problem is added to ``problems``."""
    if written and written not in words:
        problems.append(f"{field} must be one of {', '.join(words)}")
    return words.get(written, default)


def one_of(words: Mapping[str, object], *, blank: bool = False) -> Schema:
    """Return the schema of a text that is one of ``words``, or ``blank``, which is the default."""
    pattern = "|".join(words)
    return words_or(tuple(words), whole(f"(?:{pattern})?" if blank else pattern))


def path_problems(field: str, path: str) -> Iterator[str]:
    """Yield the problems of a file's path."""
    if not path:
        yield f"{field} is required"
    elif not PurePosixPath(path).is_absolute() or "\0" in path:
        yield f"{field} must be an absolute path"
