"""Dynamic metadata about a decision, for the gateway's access log and for later filters.

Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/advanced/well_known_dynamic_metadata
"""

import functools
import struct
from typing import Final

from exchanger._proto.google.protobuf.struct_pb2 import Struct
from exchanger.authz.decision.outcome import Allow, DecisionReason, Outcome
from exchanger.model.entry import Source
from exchanger.model.text import ISSUER_LIMIT, POLICY_LIMIT
from exchanger.model.token import Cache
from exchanger.util.text import printable

# google.protobuf.Struct: fields = 1, a map whose entries have key = 1 and value = 2; Value: number_value = 2, a double.
_EXPIRES_AT: Final = b"\x0a\x17\x0a\x0aexpires_at\x12\x09\x11"
_double: Final = struct.Struct("<d").pack


def described(outcome: Outcome) -> bytes:
    """Return a serialised Struct: ``decision`` and ``cache``, and ``policy``, ``issuer`` and ``expires_at`` if known.

    ``policy`` is namespace/name, and ``expires_at`` in seconds since the epoch.
    """
    metadata = _described(outcome.reason, outcome.cache, outcome.source, outcome.issuer)
    if type(outcome) is Allow and outcome.expires_at is not None:
        return metadata + _EXPIRES_AT + _double(outcome.expires_at)
    return metadata


# There are a few for each entry of the policy.
@functools.lru_cache(maxsize=4096)
def _described(reason: DecisionReason, cache: Cache, source: Source | None, issuer: str) -> bytes:
    metadata = Struct()
    fields = metadata.fields
    fields["decision"].string_value = reason.value
    fields["cache"].string_value = cache.value
    if source is not None:
        fields["policy"].string_value = printable(str(source), POLICY_LIMIT)
    if issuer:
        fields["issuer"].string_value = printable(issuer, ISSUER_LIMIT)
    return metadata.SerializeToString(deterministic=True)  # otherwise the order of a map differs between processes
