"""The JSON Schemas by name, as ``exchanger schema`` prints them and ``docs/schemas`` has them."""

from collections.abc import Callable, Mapping
from typing import Final

from exchanger.commands.cases import tests_schema
from exchanger.exchange.issuers.schema import issuers_schema
from exchanger.policy.documents.schema import policy_schema
from exchanger.policy.grants.schema import grants_schema
from exchanger.util.json_schema import Schema

SCHEMAS: Final[Mapping[str, Callable[[], Schema]]] = {
    "policy": policy_schema,
    "issuers": issuers_schema,
    "grants": grants_schema,
    "tests": tests_schema,
}
