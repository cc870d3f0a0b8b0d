"""The issuer profiles file: YAML or JSON written by operators, read strictly into profiles.

Problems repeat nothing of the file except the names of profiles, and of fields that are nearly right: a secret may be in any place.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, assert_never, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from exchanger.exchange.issuers.profile_model import IssuerProfile, Plan, Rejected, plan_profiles
from exchanger.exchange.issuers.rules import ProfileRules
from exchanger.formats.yaml import nodes
from exchanger.formats.yaml.fields import BOOLEANS, FieldType, empty
from exchanger.formats.yaml.reader import UnreadableYaml, read_nodes
from exchanger.model.codes import policy as codes
from exchanger.model.secret import Secret
from exchanger.util.duration import parse_duration
from exchanger.util.json_schema import About, alternatives, type_of, written
from exchanger.util.regular_file import unreadable
from exchanger.util.shown import measured, shown_file
from exchanger.util.text import closest

# A mounted ConfigMap holds no more (https://kubernetes.io/docs/concepts/configuration/configmap/#motivation).
MAX_FILE_BYTES: Final = 1024 * 1024
# Known fields that are listed although each unknown one is probably a certain one of them.
_LISTED: Final = 8

Hook = Callable[[object, object], object]


# YAML 1.1 reads 010 as 8 and YAML 1.2 as 10, so a number that begins with 0 is not accepted.
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


def _duration(told: About) -> Hook:
    def duration(value: object, _type: object) -> float:
        try:
            seconds = parse_duration(value.strip()) if isinstance(value, str) else None
        except ValueError:
            seconds = None
        if seconds is None:
            raise TypeError("must be a duration such as 90s or 5m")
        if not parse_duration(str(told.least)) <= seconds <= parse_duration(str(told.most)):
            raise TypeError(f"must be between {told.least} and {told.most}")
        return seconds

    return duration


def _count(told: About) -> Hook:
    numbers = range(int(told.least or 0), int(told.most or 0) + 1)

    def count(value: object, _type: object) -> int:
        # A truth value is a number to Python.
        if not isinstance(value, int) or isinstance(value, bool) or value not in numbers:
            raise TypeError(f"must be a whole number from {told.least} to {told.most}, without quotes")
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


def _mappings(item: type[attrs.AttrsInstance], converter: cattrs.Converter) -> Hook:
    def mappings(value: object, _type: object) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise TypeError("must be a list")
        _not_empty(value)
        return tuple(converter.structure(one, item) for one in value)

    return mappings


def _either(hints: tuple[Any, ...], converter: cattrs.Converter) -> Hook:
    """Read a text, or else the list or mapping that is the other one of ``hints``."""
    (other,) = (hint for hint in hints if hint is not str)
    kind, what = (Mapping, "a mapping") if attrs.has(other) else (list, "a list")
    if attrs.has(other):
        _strict(other, converter)

    def either(value: object, expected: object) -> object:
        if isinstance(value, str):
            return _text(value, str)
        if not isinstance(value, kind):
            raise TypeError(f"must be text or {what}")
        return converter.structure(value, other) if kind is Mapping else _texts(value, expected)

    return either


def _pairs(value: object, _type: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise TypeError("must be a mapping of texts; put them in quotes")
    return tuple(value.items())


def _truth(value: object, _type: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("must be true or false, without quotes")
    return value


_KINDS: Final = {float: FieldType.TEXT, int: FieldType.NUMBER, bool: FieldType.BOOLEAN, tuple[tuple[str, str], ...]: FieldType.PAIRS}


def _why_empty(field: "attrs.Attribute[Any]") -> str:
    """Return why a field must not be null, or a blank text, in words that follow its path."""
    hint = type_of(field)
    if attrs.has(hint):
        return empty(FieldType.MAPPING, needs=any(inner.default is attrs.NOTHING for inner in attrs.fields(hint)))
    if hint in _KINDS:
        return empty(_KINDS[hint])
    return empty(FieldType.TEXTS, needs=True) if get_origin(hint) is tuple else empty(FieldType.TEXT)


def _filled(field: "attrs.Attribute[Any]", read: Hook) -> Hook:
    """Return ``read`` for values that are neither null nor a blank text: a field that may be left out is not switched off by either."""
    why = _why_empty(field)
    takes_text = str in alternatives(type_of(field))

    def filled(value: object, expected: object) -> object:
        if value is None or (takes_text and isinstance(value, str) and not value.strip()):
            raise TypeError(why)
        return read(value, expected)

    return filled


# How fields of a type are read that cattrs would read less strictly.
_READERS: Final[Mapping[object, Callable[[About], Hook]]] = {
    float: _duration,
    int: _count,
    bool: lambda _: _truth,
    tuple[str, ...]: lambda _: _texts,
    tuple[tuple[str, str], ...]: lambda _: _pairs,
}


def _strict(cls: type[attrs.AttrsInstance], converter: cattrs.Converter) -> None:
    """Read ``cls`` from a mapping with exactly its fields, and so on. Null counts as missing in required and ``nullable`` fields."""
    overrides: Any = {}
    skipped: set[str] = set()
    for field in attrs.fields(cls):
        hint, hook = type_of(field), None
        if len(several := alternatives(hint)) > 1:
            hook = _either(several, converter)
        item = get_args(hint)[0] if get_origin(hint) is tuple else hint
        if attrs.has(item):
            _strict(item, converter)
            hook = None if item is hint else _mappings(item, converter)
        elif hint in _READERS:
            hook = _READERS[hint](field.metadata[About])
        about: About = field.metadata[About]
        if about.nullable or field.default is attrs.NOTHING:
            skipped.add(written(field.name))
        else:
            hook = _filled(field, hook or partial(_structured, converter))
        overrides[field.name] = override(rename=written(field.name), struct_hook=hook)
    read: Any = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **overrides)

    def strict(value: object, expected: object) -> object:
        if not isinstance(value, Mapping):
            raise TypeError("must be a mapping")
        return read({name: item for name, item in value.items() if item is not None or name not in skipped}, expected)

    converter.register_structure_hook(cls, strict)


def _structured(converter: cattrs.Converter, value: object, expected: Any) -> object:
    return converter.structure(value, expected)


def _names(cls: type[attrs.AttrsInstance]) -> list[str]:
    return [written(field.name) for field in attrs.fields(cls)]


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(Secret, _secret)
    _strict(IssuerProfile, converter)
    return converter


_CONVERTER: Final = _converter()


def _explain(error: BaseException, _type: type | None) -> str:
    match error:
        case KeyError():
            return "is required"
        case cattrs.ForbiddenExtraKeysError():
            return _unknown(map(str, error.extra_fields), _names(error.cl))
        case _:  # every hook raises TypeError with a text of its own
            return str(error)


def _unknown(names: Iterable[str], known: list[str]) -> str:
    meant = [(name, closest(name, known)) for name in sorted(names)]
    listed = ", ".join(measured(name) if near is None else f"{name} (did you mean {near}?)" for name, near in meant)
    if len(known) > _LISTED and all(near is not None for _, near in meant):
        return f"has unknown fields: {listed}"
    return f"has unknown fields: {listed}; there {'is' if len(known) == 1 else 'are'} {', '.join(known)}"


def read_bytes(path: Path) -> bytes | str:
    """Return the content of ``path``, or a readable line on why it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return f"{shown_file(path)} {unreadable(error)}"
    return data if len(data) <= MAX_FILE_BYTES else f"{shown_file(path)} is larger than {MAX_FILE_BYTES} bytes"


def read_plan(data: bytes, name: str, rules: ProfileRules) -> Plan | Rejected:
    """Return the issuers that the profiles in ``data`` describe, or everything that is wrong with them. Problems call the file ``name``."""
    profiles, problems = parse_profiles(data, name)
    return Rejected(problems) if problems else plan_profiles(profiles, rules)


def parse_profiles(data: bytes, name: str) -> tuple[tuple[IssuerProfile, ...], tuple[str, ...]]:
    """Return the profiles in ``data`` and the problems, which call the file ``name``."""
    try:
        root = read_nodes(data.decode())
    except UnicodeDecodeError:
        return (), (f"{name} is not UTF-8",)
    if isinstance(root, UnreadableYaml):
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
        case nodes.Scalar(nodes.ScalarKind.TEXT):
            return node.text
        case nodes.Scalar(nodes.ScalarKind.NULL):
            return None
        case nodes.Scalar():
            return int(node.text) if _is_whole(node.text) else BOOLEANS.get(node.text, 0.0)
        case _:
            assert_never(node)


def _place(index: int, line: str) -> str:
    """Turn cattrs' ``message @ $.path`` into ``issuers[0].path message``."""
    message, _, path = line.rpartition(" @ $")
    return f"issuers[{index}]{'.'.join(map(written, path.split('.')))} {message}"
