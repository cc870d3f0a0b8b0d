"""The header fields of a request, unread until a policy needs one.

Must not know: policies, or which message the fields came in.
"""

from collections.abc import Callable, Iterable
from typing import Final, final

import attrs


@final
@attrs.frozen(eq=False, repr=False)
class HeaderFields:
    """``read`` yields names in any case and values, a field for each time that it was sent. They may be secret, so nothing shows them.

    ``raw``: values came byte for byte, bytes that are not UTF-8 as surrogates (PEP 383). Otherwise a ``!`` in a value may stand for such a
    byte, and fields of one name are joined with commas.
    """

    read: Callable[[], Iterable[tuple[str, str]]]
    raw: bool = False


NO_FIELDS: Final = HeaderFields(lambda: (), raw=True)
