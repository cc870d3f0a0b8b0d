"""The header fields of a request.

Must not know: policies, or which message the fields came in.
"""

from typing import Final, final

import attrs


@final
@attrs.frozen(repr=False)
class HeaderFields:
    """Names in any case and values, a field for each occurrence. They may be secret, so nothing shows them.

    ``raw``: values are the raw bytes, those that are not UTF-8 as surrogates (PEP 383). Otherwise a ``!`` in a value may replace such a
    byte, and fields of one name are joined with commas.
    """

    fields: tuple[tuple[str, str], ...] = ()
    raw: bool = False


NO_FIELDS: Final = HeaderFields(raw=True)
