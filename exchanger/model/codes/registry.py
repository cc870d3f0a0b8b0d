"""All codes. Every problem that is reported has one of these."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from exchanger.model.codes import exchange, grants, issuers, manifests, policy
from exchanger.model.codes.code import Code


def _all() -> tuple[Code, ...]:
    """Return the codes in the order of their names."""
    declared = (value for module in (policy, grants, manifests, issuers) for value in vars(module).values() if isinstance(value, Code))
    return tuple(sorted((*declared, *exchange.CODES), key=lambda code: code.name))


CODES: Final = _all()
_BY_NAME: Final[Mapping[str, Code]] = MappingProxyType({code.name: code for code in CODES})


def find(name: str) -> Code | None:
    """Return the code called ``name``, in any case and with surrounding blanks, ``None`` if there is none."""
    return _BY_NAME.get(name.strip().upper())
