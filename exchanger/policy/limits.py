"""What the operator lets each namespace have in all its documents together.

Must not know: documents.
"""

from typing import final

import attrs


@final
@attrs.frozen
class NamespaceLimits:
    """The quota of one namespace. A document over quota fails closed on the hosts that it names.

    ``entries`` counts valid, invalid and ungranted entries. ``fail_closed_scopes`` come from invalid documents and entries. ``documents``
    are the ConfigMaps that are read, and ``kib`` is the size of their texts and unusual labels, in KiB.
    """

    # Twice what fits a ConfigMap with entries of usual length.
    entries: int = 10_000
    # As many as entries, so that one wrong name in all of them, such as that of an issuer, closes each in its own place.
    fail_closed_scopes: int = 10_000
    # One for each entry.
    documents: int = 10_000
    # 400 bytes for each of 10,000 entries, or four full ConfigMaps.
    kib: int = 4_096
