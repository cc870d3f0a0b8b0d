"""A text that must not be shown: tokens and client secrets.

Must not know: where the text comes from or goes to. Nothing here formats, compares loosely or serialises it.
"""

from typing import NoReturn, final

import attrs


@final
@attrs.frozen(repr=False, str=False)
class Secret:
    """A secret text. ``repr`` and ``str`` hide it, and ``attrs.asdict`` keeps the ``Secret`` itself as the value."""

    _text: str = attrs.field(repr=False)

    def reveal(self) -> str:
        """Return the text itself; each call is a place that a reviewer looks at."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, _spec: str, /) -> str:
        return "Secret(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not to be pickled")
