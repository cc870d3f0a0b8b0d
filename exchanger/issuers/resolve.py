"""From a plan and the Secrets that it refers to, to issuers. Pure.

Must not know: files, clocks, or how Secrets are read.
"""

from typing import assert_never, final

import attrs
from rpds import HashTrieMap

from exchanger.issuers.plan import Draft, Plan, SecretKey
from exchanger.issuers.secrets import SecretData, SecretName, SecretProblem
from exchanger.values.issuer import Credentials, Issuer
from exchanger.values.secret import Secret


@final
@attrs.frozen
class Trouble:
    """What stands in the way of one field's value. ``place`` names profile, field, Secret and key; never a value."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@final
@attrs.frozen
class Resolved:
    """The issuers whose credentials are known, and what stands in the way of the others. ``complete``: there are no others."""

    issuers: "HashTrieMap[str, Issuer]"
    problems: tuple[Trouble, ...]
    complete: bool


def resolve(plan: Plan, secrets: "HashTrieMap[SecretName, SecretData | SecretProblem]") -> Resolved:
    """Return the issuers of ``plan`` with the values that ``secrets`` has.

    A Secret that is not among ``secrets`` was not looked at yet: the profile is left out, and that is no problem to speak of.
    """
    issuers: dict[str, Issuer] = {}
    problems: list[Trouble] = []
    for draft in plan.drafts:
        client_id = _value(draft.client_id, secrets)
        client_secret = _value(draft.client_secret, secrets)
        for part, value in ((draft.client_id, client_id), (draft.client_secret, client_secret)):
            if isinstance(part, SecretKey) and isinstance(value, str):
                place = f'issuer profile "{draft.name}" {part.field}, Secret {part.secret} key {part.key}'
                problems.append(Trouble(place, value))
        if isinstance(client_id, Secret) and isinstance(client_secret, Secret):
            issuers[draft.name] = _issuer(draft, Credentials(client_id.reveal(), client_secret))
    return Resolved(HashTrieMap(issuers), tuple(problems), complete=len(issuers) == len(plan.drafts))


def _value(part: str | Secret | SecretKey, secrets: "HashTrieMap[SecretName, SecretData | SecretProblem]") -> Secret | str | None:
    """Return the value, or why there is none, or ``None`` when its Secret was not looked at yet."""
    match part:
        case str():
            return Secret(part)
        case Secret():
            return part
        case SecretKey():
            return _looked_up(part.key, secrets.get(part.secret))
        case _:
            assert_never(part)


def _looked_up(key: str, found: SecretData | SecretProblem | None) -> Secret | str | None:
    match found:
        case None:
            return None
        case SecretProblem():
            return found.text
        case SecretData():
            value = found.values.get(key)
            if value is None:
                return "its value is no text in UTF-8" if key in found.undecodable else "there is no such key"
            return value if value.reveal() else "its value is empty"
        case _:
            assert_never(found)


def _issuer(draft: Draft, credentials: Credentials) -> Issuer:
    return Issuer(
        name=draft.name,
        token_endpoint=draft.token_endpoint,
        endpoint_host=draft.endpoint_host,
        auth_method=draft.auth_method,
        credentials=credentials,
        bearer_realm=draft.bearer_realm,
        proxy=draft.proxy,
    )
