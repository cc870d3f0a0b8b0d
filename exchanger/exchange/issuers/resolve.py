"""Completes a plan with the values in Secrets and files: to issuers, or to a list of what is missing. Pure."""

from collections.abc import Mapping
from typing import Any, assert_never, cast, final

import attrs
from rpds import HashTrieMap

from exchanger.exchange.issuers.material import problem_with
from exchanger.exchange.issuers.profile_model import Plan
from exchanger.exchange.issuers.secrets import SecretData, SecretProblem
from exchanger.exchange.issuers.value_sources import Reference, ValueSource, open_fields
from exchanger.model.issuer import Issuer

Found = SecretData | SecretProblem


@final
@attrs.frozen
class SecretIssue:
    """Why one field has no value. ``place`` names profile, field, and Secret and key or file; never a value."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@final
@attrs.frozen
class Resolved:
    """The issuers whose values are known, and why others are missing. ``complete``: none is missing."""

    issuers: "HashTrieMap[str, Issuer]"
    issues: tuple[SecretIssue, ...]
    complete: bool


def resolve(plan: Plan, found: "HashTrieMap[ValueSource, Found]") -> Resolved:
    """Return the issuers of ``plan`` with the values in ``found``.

    A place that is missing there was not read yet: its profile is left out, and that is not an issue.
    """
    issuers: dict[str, Issuer] = {}
    issues: list[SecretIssue] = []
    for profile, needed in zip(plan.profiles, plan.needed, strict=True):
        values: dict[Reference, str] = {}
        for reference in needed:
            there = found.get(reference.place)
            if there is None:
                continue
            problem = problem_of(reference, there)
            if problem is not None:
                issues.append(SecretIssue(f'issuer profile "{profile.name}" {reference}', problem))
            elif isinstance(there, SecretData):
                values[reference] = there.values[reference.key].reveal()
        if len(values) == len(needed):
            issuers[profile.name] = completed(profile, values)
    return Resolved(HashTrieMap(issuers), tuple(issues), complete=len(issuers) == len(plan.profiles))


def problem_of(reference: Reference, found: Found) -> str | None:
    """Return why ``found`` has no usable value for ``reference``; ``None`` if it has one."""
    match found:
        case SecretProblem():
            return found.text
        case SecretData():
            value = found.values.get(reference.key)
            if value is None:
                return "its value is not text in UTF-8" if reference.key in found.undecodable else "there is no such key"
            asked = reference.key, reference.shape
            if asked not in found.checked:
                found.checked[asked] = problem_with(reference.shape, value.reveal()) if value.reveal() else "its value is empty"
            return found.checked[asked]
        case _:
            assert_never(found)


def completed(profile: Issuer[Reference], values: Mapping[Reference, str]) -> Issuer:
    """Return ``profile`` with ``values`` in place of all its references."""
    return cast("Issuer", _completed(profile, values))


def _completed(value: Any, values: Mapping[Reference, str]) -> Any:
    if isinstance(value, Reference):
        return value.made(values[value])
    parts = {name: getattr(value, name) for name in open_fields(type(value))}  # type: ignore[arg-type]  # classes can be hashed
    made = {name: _completed(part, values) for name, part in parts.items()}
    return attrs.evolve(value, **made) if any(made[name] is not part for name, part in parts.items()) else value
