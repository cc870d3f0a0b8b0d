"""The request to decide on: those of its attributes that a decision reads.

Must not know: protobuf, ext_authz or ext_proc.
"""

from typing import Final, final

import attrs

from exchanger.model.secret import Secret
from exchanger.model.text import loggable_host, loggable_path, loggable_request_id
from exchanger.model.trace import NO_TRACE, TraceContext
from exchanger.util.frozen import fast_init


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


@final
@fast_init
@attrs.frozen(weakref_slot=False)
class HttpRequest:
    """One HTTP request as the gateway saw it, before any normalisation of host and path.

    ``method`` is in upper case; ``host`` is the first non-empty of ``:authority``, ``host`` and the gateway's own host attribute; ``path``
    includes the query. ``authorization`` is the joined value of the header, ``None`` if it is absent or empty.
    ``target_authority`` is the authority of an absolute-form path, which is reduced to its path; "" for any other form.
    ``path_is_raw``: the path is the raw bytes; otherwise a ``!`` in it may replace a byte that is not UTF-8. ``fields`` are all header
    fields, if a policy needs them; comparisons ignore them. ``request_id`` is the unchanged ``x-request-id``, repeated values joined with a
    comma.
    """

    method: str
    host: str = attrs.field(repr=loggable_host)
    path: str = attrs.field(repr=loggable_path)
    authorization: Secret | None = None
    origin: str = ""
    access_control_request_method: str = ""
    trace: TraceContext = NO_TRACE
    target_authority: str = attrs.field(default="", repr=loggable_host)
    path_is_raw: bool = False
    fields: HeaderFields = attrs.field(default=NO_FIELDS, eq=False, repr=False)
    request_id: str = attrs.field(default="", repr=loggable_request_id)
