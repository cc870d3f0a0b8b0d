"""What the lab is asked for: the bodies of its requests as values, or in words why they are none. Total; nothing of a body is repeated.

The page is not trusted: whatever it sends becomes one request, with a token of the demo or the asker's own, or nothing. Must not know: who
answers, or how.
"""

from typing import Final, final

import attrs
import orjson

from exchanger.decision.bearer import is_bearer_token
from exchanger.demo.http import Headers
from exchanger.demo.request_rules import MAX_HEADERS, is_host, is_method, is_path, why_no_header
from exchanger.demo.scenario import Call, Subject

OWN: Final = "own"
"""The subject that is the asker's own token."""
MAX_HEADER_CHARACTERS: Final = 49_152
"""Of all header values together; with a token and the request line there is no room for more either."""

_SUBJECTS: Final = {subject.value: subject for subject in Subject}
_NO_OBJECT: Final = "the body must be a JSON object"


@final
@attrs.frozen
class Wrong:
    """Why a body cannot be used, in a sentence."""

    reason: str


@final
@attrs.frozen
class RunAsk:
    """Run the scenario ``name``, with the asker's own ``token`` if that is not ""."""

    name: str
    token: str = attrs.field(default="", repr=False)


@final
@attrs.frozen
class RequestAsk:
    """Send one request; ``own`` is the asker's own token, ``None`` for that of the call's subject."""

    call: Call = attrs.field(repr=False)
    own: str | None = attrs.field(default=None, repr=False)


@final
@attrs.frozen
class TextAsk:
    """A policy file with the text that it has in an editor; ``version`` is that of the file that was edited, "" for whichever it is."""

    name: str
    text: str = attrs.field(repr=False)
    version: str = ""


def run_ask(body: bytes) -> RunAsk | Wrong:
    """Read the body of ``POST /lab/run``."""
    fields = _fields(body, "name", token="")
    if isinstance(fields, Wrong):
        return fields
    wrong = _why_no_token(fields["token"]) if fields["token"] else None
    return wrong or RunAsk(fields["name"], fields["token"])


def name_ask(body: bytes) -> str | Wrong:
    """Read the body of ``POST /lab/policy/reset``."""
    fields = _fields(body, "name")
    return fields if isinstance(fields, Wrong) else fields["name"]


def text_ask(body: bytes) -> TextAsk | Wrong:
    """Read the body of ``POST /lab/policy/lint``."""
    fields = _fields(body, "name", "text")
    return fields if isinstance(fields, Wrong) else TextAsk(fields["name"], fields["text"])


def save_ask(body: bytes) -> TextAsk | Wrong:
    """Read the body of ``PUT /lab/policy``."""
    fields = _fields(body, "name", "text", version="")
    return fields if isinstance(fields, Wrong) else TextAsk(fields["name"], fields["text"], fields["version"])


def request_ask(body: bytes) -> RequestAsk | Wrong:
    """Read the body of ``POST /lab/request``."""
    found = _object(body)
    if isinstance(found, Wrong):
        return found
    headers = _headers(found.pop("headers", []))
    if isinstance(headers, Wrong):
        return headers
    fields = _texts(found, ("host", "path"), {"method": "GET", "subject": Subject.VALID.value, "token": ""})
    if isinstance(fields, Wrong):
        return fields
    for name, judge, what in (("method", is_method, "an HTTP method"), ("host", is_host, "a host"), ("path", is_path, "a path")):
        if not judge(fields[name]):
            return Wrong(f"{name} is not {what} that can be sent")
    subject = fields["subject"]
    call = Call(fields["host"], fields["path"], _SUBJECTS.get(subject, Subject.NONE), fields["method"], headers)
    if subject == OWN:
        return _why_no_token(fields["token"]) or RequestAsk(call, fields["token"])
    if subject not in _SUBJECTS:
        return Wrong(f"subject is none of {', '.join((*_SUBJECTS, OWN))}")
    return Wrong(f"token is given, and subject is not {OWN}") if fields["token"] else RequestAsk(call)


def _headers(value: object) -> Headers | Wrong:
    if not isinstance(value, list) or len(value) > MAX_HEADERS:
        return Wrong(f"headers must be a list of at most {MAX_HEADERS} pairs of name and value")
    found: list[tuple[str, str]] = []
    for number, pair in enumerate(value, 1):
        match pair:
            case [str(name), str(text)]:
                reason = why_no_header(name, text)
            case _:
                reason = "is no pair of name and value"
        if reason:
            return Wrong(f"header {number} {reason}")
        found.append((pair[0], pair[1]))
    if sum(len(text) for _, text in found) > MAX_HEADER_CHARACTERS:
        return Wrong(f"headers have more than {MAX_HEADER_CHARACTERS} characters together")
    return tuple(found)


def _why_no_token(token: str) -> Wrong | None:
    if is_bearer_token(token):
        return None
    return Wrong("token is no bearer token that can be sent (the token alone, without the word Bearer)")


def _fields(body: bytes, *required: str, **optional: str) -> dict[str, str] | Wrong:
    found = _object(body)
    return found if isinstance(found, Wrong) else _texts(found, required, optional)


def _object(body: bytes) -> dict[str, object] | Wrong:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Wrong(_NO_OBJECT)
    return found if isinstance(found, dict) else Wrong(_NO_OBJECT)


def _texts(found: dict[str, object], required: tuple[str, ...], optional: dict[str, str]) -> dict[str, str] | Wrong:
    """Return the fields, which are texts, with what stands for those that are left out. A field of another name is a mistake."""
    if found.keys() - {*required, *optional}:
        return Wrong("the body has a field that is not known here")
    texts = dict(optional)
    for name, value in found.items():
        if not isinstance(value, str):
            return Wrong(f"{name} must be a text")
        texts[name] = value
    missing = [name for name in required if name not in texts]
    return Wrong(f"{missing[0]} is missing") if missing else texts
