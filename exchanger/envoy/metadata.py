"""What a gateway may know of a decision: dynamic metadata, for its access log and for the filters behind this one.

Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/advanced/well_known_dynamic_metadata
"""

from exchanger._proto.google.protobuf.struct_pb2 import Struct
from exchanger.decision.outcome import Allow, Outcome
from exchanger.util.text import printable
from exchanger.values.text import ISSUER_LIMIT, POLICY_LIMIT


def describe(outcome: Outcome, metadata: Struct) -> None:
    """Fill ``metadata``: ``decision`` and ``cache``, and where there is one ``policy`` (namespace/name), ``issuer`` and ``expires_at``.

    ``expires_at`` is in seconds since the epoch.
    """
    fields = metadata.fields
    fields["decision"].string_value = outcome.reason.value
    fields["cache"].string_value = outcome.cache.value
    if outcome.source is not None:
        fields["policy"].string_value = printable(str(outcome.source), POLICY_LIMIT)
    if outcome.issuer:
        fields["issuer"].string_value = printable(outcome.issuer, ISSUER_LIMIT)
    if isinstance(outcome, Allow) and outcome.expires_at is not None:
        fields["expires_at"].number_value = outcome.expires_at
