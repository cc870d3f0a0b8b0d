"""The bodies of the playground's requests as values, or why they cannot be used. Total; nothing of a body is repeated.

The page is not trusted: whatever it sends becomes one request, with a token of the demo or the user's own, or nothing.
"""

from typing import Final, final

import attrs
import orjson

from exchanger.commands.scenarios.scenario import MAX_HEADERS, GatewayCall, is_host, is_method, is_path, why_no_header
from exchanger.commands.scenarios.tokens import Subject
from exchanger.model.bearer import is_bearer_token
from exchanger.net.http.message import Headers

# The subject of a request with the user's own token.
OWN: Final = "own"
# What an edited text is compared with.
SAVED: Final = "saved"
# Characters of all header values together; with a token and the request line there is no room for more.
MAX_HEADER_CHARACTERS: Final = 49_152

_SUBJECTS: Final = {subject.value: subject for subject in Subject}
_NO_OBJECT: Final = "the body must be a JSON object"


@final
@attrs.frozen
class MalformedBody:
    """Why a body cannot be used, in a sentence."""

    reason: str


@final
@attrs.frozen
class RunRequest:
    """Run the scenario ``name``, with the user's own ``token`` if that is not ""."""

    name: str
    token: str = attrs.field(default="", repr=False)


@final
@attrs.frozen
class SendRequest:
    """Send one request; ``own`` is the user's own token, ``None`` for that of the call's subject."""

    call: GatewayCall = attrs.field(repr=False)
    own: str | None = attrs.field(default=None, repr=False)


@final
@attrs.frozen
class FileRequest:
    """A policy file with its text in an editor; ``version`` is that of the file that was edited, "" for any.

    ``compare``: its effect is to be compared with that of the saved files.
    """

    name: str
    text: str = attrs.field(repr=False)
    version: str = ""
    compare: bool = False


def read_run(body: bytes) -> RunRequest | MalformedBody:
    """Read the body of ``POST /lab/run``."""
    fields = _fields(body, "name", token="")
    if isinstance(fields, MalformedBody):
        return fields
    wrong = _why_no_token(fields["token"]) if fields["token"] else None
    return wrong or RunRequest(fields["name"], fields["token"])


def read_name(body: bytes) -> str | MalformedBody:
    """Read the body of ``POST /lab/policy`` and of ``POST /lab/policy/reset``."""
    fields = _fields(body, "name")
    return fields if isinstance(fields, MalformedBody) else fields["name"]


def read_text(body: bytes) -> FileRequest | MalformedBody:
    """Read the body of ``POST /lab/policy/lint``."""
    fields = _fields(body, "name", "text", compare="")
    if isinstance(fields, MalformedBody):
        return fields
    if fields["compare"] not in {"", SAVED}:
        return MalformedBody(f"compare is not {SAVED}")
    return FileRequest(fields["name"], fields["text"], compare=fields["compare"] == SAVED)


def read_save(body: bytes) -> FileRequest | MalformedBody:
    """Read the body of ``PUT /lab/policy``."""
    fields = _fields(body, "name", "text", version="")
    return fields if isinstance(fields, MalformedBody) else FileRequest(fields["name"], fields["text"], fields["version"])


def read_send(body: bytes) -> SendRequest | MalformedBody:
    """Read the body of ``POST /lab/request``."""
    found = _object(body)
    if isinstance(found, MalformedBody):
        return found
    headers = _headers(found.pop("headers", []))
    if isinstance(headers, MalformedBody):
        return headers
    fields = _texts(found, ("host", "path"), {"method": "GET", "subject": Subject.VALID.value, "token": ""})
    if isinstance(fields, MalformedBody):
        return fields
    for name, check, what in (("method", is_method, "an HTTP method"), ("host", is_host, "a host"), ("path", is_path, "a path")):
        if not check(fields[name]):
            return MalformedBody(f"{name} is not {what} that can be sent")
    subject = fields["subject"]
    call = GatewayCall(fields["host"], fields["path"], _SUBJECTS.get(subject, Subject.NONE), fields["method"], headers)
    if subject == OWN:
        return _why_no_token(fields["token"]) or SendRequest(call, fields["token"])
    if subject not in _SUBJECTS:
        return MalformedBody(f"subject is none of {', '.join((*_SUBJECTS, OWN))}")
    return MalformedBody(f"token is given, and subject is not {OWN}") if fields["token"] else SendRequest(call)


def _headers(value: object) -> Headers | MalformedBody:
    if not isinstance(value, list) or len(value) > MAX_HEADERS:
        return MalformedBody(f"headers must be a list of at most {MAX_HEADERS} pairs of name and value")
    found: list[tuple[str, str]] = []
    for number, pair in enumerate(value, 1):
        match pair:
            case [str(name), str(text)]:
                reason = why_no_header(name, text)
            case _:
                reason = "is not a pair of name and value"
        if reason:
            return MalformedBody(f"header {number} {reason}")
        found.append((pair[0], pair[1]))
    if sum(len(text) for _, text in found) > MAX_HEADER_CHARACTERS:
        return MalformedBody(f"headers have more than {MAX_HEADER_CHARACTERS} characters together")
    return tuple(found)


def _why_no_token(token: str) -> MalformedBody | None:
    if is_bearer_token(token):
        return None
    return MalformedBody("token is not a bearer token that can be sent (the token alone, without the word Bearer)")


def _fields(body: bytes, *required: str, **optional: str) -> dict[str, str] | MalformedBody:
    found = _object(body)
    return found if isinstance(found, MalformedBody) else _texts(found, required, optional)


def _object(body: bytes) -> dict[str, object] | MalformedBody:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return MalformedBody(_NO_OBJECT)
    return found if isinstance(found, dict) else MalformedBody(_NO_OBJECT)


def _texts(found: dict[str, object], required: tuple[str, ...], optional: dict[str, str]) -> dict[str, str] | MalformedBody:
    """Return the fields, all texts, with defaults for missing ones. An unknown field is a mistake."""
    if found.keys() - {*required, *optional}:
        return MalformedBody("the body has a field that is not known here")
    texts = dict(optional)
    for name, value in found.items():
        if not isinstance(value, str):
            return MalformedBody(f"{name} must be a text")
        texts[name] = value
    missing = [name for name in required if name not in texts]
    return MalformedBody(f"{missing[0]} is missing") if missing else texts
