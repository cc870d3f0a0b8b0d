"""The sources of a profile's values that are not in the profiles file itself: keys of Secrets, and files.

Must not know: how Secrets and files are read.
"""

import enum
import functools
from collections.abc import Callable, Iterator
from typing import final

import attrs

from exchanger.exchange.issuers.secrets import SecretName
from exchanger.model.secret import Secret
from exchanger.util.shown import shown_file


@final
@attrs.frozen(order=True)
class FileSet:
    """Files that belong together: they are read as one, in this order."""

    paths: tuple[str, ...]

    def __str__(self) -> str:
        return " and ".join(self.paths)


# The unit that is read and followed as a whole.
ValueSource = SecretName | FileSet

# The only key of a set of files.
CONTENT = "content"


@enum.unique
class Shape(enum.Enum):
    """The required form of a value."""

    TEXT = "text"
    TOKEN = "a token"
    RSA_KEY = "an RSA key"
    P256_KEY = "a key of the curve P-256"
    ED25519_KEY = "an Ed25519 key"
    CERTIFICATE = "a certificate and its key"
    AUTHORITIES = "certificates of authorities"


@final
@attrs.frozen
class Reference:
    """One value in a place; ``field`` is the profile's field that refers to it. Its text, for messages, shows only real paths.

    ``made`` returns the used part of the text at that place. Two parts of an issuer may come from one text.
    """

    place: ValueSource
    key: str
    field: str
    shape: Shape = Shape.TEXT
    made: Callable[[str], object] = attrs.field(default=Secret, eq=False, repr=False)

    def __str__(self) -> str:
        if isinstance(self.place, FileSet):
            return f"{self.field}, file {' and '.join(map(shown_file, self.place.paths))}"
        return f"{self.field}, Secret {self.place} key {self.key}"


def in_files(field: str, shape: Shape, *paths: str, made: Callable[[str], object] = Secret) -> Reference:
    """Return the reference of ``field`` to the content of the files at ``paths``. One that is named twice is read once."""
    return Reference(FileSet(tuple(dict.fromkeys(paths))), CONTENT, field, shape, made)


def references(value: object) -> Iterator[Reference]:
    """Yield the references in ``value``, each once, in the order of its fields."""
    yield from dict.fromkeys(_references(value))


def _references(value: object) -> Iterator[Reference]:
    if isinstance(value, Reference):
        yield value
    for name in open_fields(type(value)):  # type: ignore[arg-type]  # classes can be hashed
        yield from _references(getattr(value, name))


@functools.cache
def open_fields(cls: type) -> tuple[str, ...]:
    """Return the fields of ``cls`` that may be references or have some in them: those with a type variable in their type."""
    fields = attrs.fields(cls) if attrs.has(cls) else ()
    return tuple(field.name for field in fields if getattr(field.type, "__parameters__", ()))
