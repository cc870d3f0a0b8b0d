"""The issuer profiles file: YAML or JSON written by operators, read strictly into profiles.

Problems repeat nothing of the file but the names of profiles, and of fields that are nearly right: a secret may stand in any place.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, assert_never

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from exchanger.codes import policy as codes
from exchanger.issuers.profile_model import (
    SPELLING,
    Actor,
    ActorByCredentials,
    CertificateFiles,
    ClientAssertion,
    ClientAssertionFile,
    IssuerProfile,
    Parameters,
    SecretKeyRef,
    SubjectHeader,
    SubjectToken,
)
from exchanger.util.duration import parse_duration
from exchanger.util.shown import measured, shown_file
from exchanger.util.text import closest
from exchanger.values.issuer import CachePolicy, CallLimits
from exchanger.values.secret import Secret
from exchanger.yaml import nodes
from exchanger.yaml.fields import BOOLEANS
from exchanger.yaml.reader import Unreadable, read_nodes

# A mounted ConfigMap holds no more (https://kubernetes.io/docs/concepts/configuration/configmap/#motivation).
MAX_FILE_BYTES: Final = 1024 * 1024

# Seconds for which a token may be kept, whatever its issuer says. Below a second nothing is saved; a day is as long as any user should
# remain able to act after having been withdrawn at the issuer.
MIN_TTL_S: Final = 1.0
MAX_TTL_S: Final = 24 * 3600.0
# Tokens of one issuer that may be kept: at some 2 KiB each, more would not fit into a usual pod.
MAX_ENTRIES: Final = 1_000_000
# Calls to one issuer at a time: each may need a connection, and with it a file descriptor.
MAX_IN_FLIGHT: Final = 10_000

T = TypeVar("T")


# YAML 1.1 reads 010 as 8 and YAML 1.2 as 10, so a number that begins with 0 is none.
_is_whole: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})").fullmatch


def _text(value: object, _type: object) -> str:
    """The default hook would read ``null`` as "None" and ``no`` as "False"."""
    if not isinstance(value, str):
        raise TypeError("must be text; put it in quotes")
    return value.strip()


def _secret(value: object, _type: object) -> Secret:
    if not isinstance(value, str):
        raise TypeError("must be text; put it in quotes")
    return Secret(value)


def _ttl(value: object, _type: object) -> float:
    if not isinstance(value, str):
        raise TypeError("must be a duration such as 90s or 5m")
    try:
        seconds = parse_duration(value.strip())
    except ValueError:
        raise TypeError("must be a duration such as 90s or 5m") from None
    if not MIN_TTL_S <= seconds <= MAX_TTL_S:
        raise TypeError("must be between 1s and 24h")
    return seconds


def _count_to(most: int) -> Callable[[object, object], int]:
    def count(value: object, _type: object) -> int:
        # A truth value is a number to Python.
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise TypeError(f"must be a whole number from 1 to {most}, without quotes")
        return value

    return count


def _not_empty(items: list[object]) -> None:
    """An empty list would not mean "none", as it says, but the same as no list: any issuer, for instance."""
    if not items:
        raise TypeError("must not be empty; leave it out instead")


def _texts(value: object, _type: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError("must be a list of texts")
    _not_empty(value)
    return tuple(item.strip() for item in value)


def _headers(value: object, _type: object) -> tuple[SubjectHeader, ...]:
    if not isinstance(value, list):
        raise TypeError("must be a list")
    _not_empty(value)
    return tuple(_CONVERTER.structure(item, SubjectHeader) for item in value)


def _parameters(value: object, _type: object) -> Parameters:
    if not isinstance(value, Mapping) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise TypeError("must be a mapping of texts; put them in quotes")
    return Parameters(tuple(value.items()))


def _truth(value: object, _type: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("must be true or false, without quotes")
    return value


# How fields are read whose type alone does not say it.
_READERS: Final[Mapping[str, Callable[[object, object], object]]] = {
    "max_ttl": _ttl,
    "max_entries": _count_to(MAX_ENTRIES),
    "max_in_flight": _count_to(MAX_IN_FLIGHT),
    "breaker": _truth,
    "issuers": _texts,
    "audiences": _texts,
    "headers": _headers,
    "parameters": _parameters,
}


def _strict(cls: type[T], converter: cattrs.Converter) -> None:
    """Read ``cls`` from a mapping with exactly its fields; ``null`` counts as a missing field."""
    overrides: Any = {
        field.name: override(rename=SPELLING.get(field.name, field.name), struct_hook=_READERS.get(field.name))
        for field in attrs.fields(cls)  # type: ignore[arg-type]
    }
    known = {SPELLING.get(field.name, field.name) for field in attrs.fields(cls)}  # type: ignore[arg-type]
    read: Any = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **overrides)

    def hook(value: object, expected: object) -> T:
        if not isinstance(value, Mapping):
            raise TypeError("must be a mapping")
        result: T = read({name: item for name, item in value.items() if item is not None or name not in known}, expected)
        return result

    converter.register_structure_hook(cls, hook)


# Those that others have as fields come first.
_CLASSES: Final = (
    *(SecretKeyRef, CachePolicy, CallLimits, ClientAssertion, ClientAssertionFile, CertificateFiles, ActorByCredentials, Actor),
    *(SubjectHeader, SubjectToken, IssuerProfile),
)


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(Secret, _secret)
    for cls in _CLASSES:
        _strict(cls, converter)
    return converter


_CONVERTER: Final = _converter()


def _explain(error: BaseException, _type: type | None) -> str:
    match error:
        case KeyError():
            return "is required"
        case cattrs.ForbiddenExtraKeysError():
            known = [SPELLING.get(field.name, field.name) for field in attrs.fields(error.cl)]
            return _unknown(map(str, error.extra_fields), known)
        case TypeError():
            return str(error)
        case _:
            return "cannot be read"


def _unknown(names: Iterable[str], known: list[str]) -> str:
    meant = ((name, closest(name, known)) for name in sorted(names))
    listed = ", ".join(measured(name) if near is None else f"{name} (did you mean {near}?)" for name, near in meant)
    return f"has unknown fields: {listed}; there {'is' if len(known) == 1 else 'are'} {', '.join(known)}"


def read_bytes(path: Path) -> bytes | str:
    """Return the content of ``path``, or a readable line on why it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return f"{shown_file(path)} cannot be read: {error.strerror}"
    return data if len(data) <= MAX_FILE_BYTES else f"{shown_file(path)} is larger than {MAX_FILE_BYTES} bytes"


def parse_profiles(data: bytes, name: str) -> tuple[tuple[IssuerProfile, ...], tuple[str, ...]]:
    """Return the profiles in ``data`` and the problems, which call the file ``name``."""
    try:
        root = read_nodes(data.decode())
    except UnicodeDecodeError:
        return (), (f"{name} is not UTF-8",)
    if isinstance(root, Unreadable):
        place = "" if root.line is None else f", line {root.line}"
        reason = "has duplicate keys" if root.code is codes.DUPLICATE_KEY else root.reason
        return (), (f"{name} {reason}{place}",)
    content = _plain(root)
    if not isinstance(content, Mapping):
        return (), (f"{name} must be a mapping with the field issuers",)
    if content.keys() - {"issuers"}:
        return (), (f"{name} {_unknown((str(key) for key in content if key != 'issuers'), ['issuers'])}",)
    entries = content.get("issuers")
    if entries is None:
        return (), ()
    if not isinstance(entries, list):
        return (), (f"{name}: issuers must be a list",)
    profiles: list[IssuerProfile] = []
    problems: list[str] = []
    for index, entry in enumerate(entries):
        try:
            profiles.append(_CONVERTER.structure(entry, IssuerProfile))
        except (cattrs.BaseValidationError, TypeError) as error:
            problems.extend(f"{name}: {_place(index, line)}" for line in cattrs.transform_error(error, format_exception=_explain))
    return (() if problems else tuple(profiles)), tuple(problems)


def _plain(node: nodes.Node) -> object:
    """Return mappings, lists, texts, whole numbers, truth values and ``None``; anything else is a float, which no field takes."""
    match node:
        case nodes.Mapping():
            return {_plain(key) if isinstance(key, nodes.Scalar) else id(key): _plain(value) for key, value in node.pairs}
        case nodes.Sequence():
            return [_plain(item) for item in node.items]
        case nodes.Scalar(nodes.Kind.TEXT):
            return node.text
        case nodes.Scalar(nodes.Kind.NULL):
            return None
        case nodes.Scalar():
            return int(node.text) if _is_whole(node.text) else BOOLEANS.get(node.text, 0.0)
        case _:
            assert_never(node)


def _place(index: int, line: str) -> str:
    """Turn cattrs' ``message @ $.path`` into ``issuers[0].path message``."""
    message, _, path = line.rpartition(" @ $")
    spelled = ".".join(SPELLING.get(part, part) for part in path.split("."))
    return f"issuers[{index}]{spelled} {message}"
