"""AdmissionReview: what an API server asks about a change, and the answer. Pure and total.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#webhook-request-and-response
"""

from collections.abc import Mapping
from typing import Final, final

import attrs
import orjson

from exchanger.policy.selection import ConfigMap
from exchanger.sources.kube.api.decoding import decode_config_map
from exchanger.util.text import printable

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"
# Characters of one warning, and of all of them: the API server may cut or drop longer ones.
WARNING_CHARS: Final = 256
WARNINGS_CHARS: Final = 4096
_MORE: Final = "and {} more"
_CONFIG_MAP: Final = {"group": "", "version": "v1", "kind": "ConfigMap"}
_JUDGED: Final = ("CREATE", "UPDATE")


@final
@attrs.frozen
class ReviewedChange:
    """A ConfigMap is to be created (``before`` is ``None``) or changed."""

    uid: str
    after: ConfigMap
    before: ConfigMap | None = None


@final
@attrs.frozen
class Unconcerned:
    """A change that cannot affect a policy: of another kind of object, of a subresource, or a deletion."""

    uid: str


@final
@attrs.frozen
class NoReview:
    """Why a body is not a review that this program can answer, in words that repeat nothing of it."""

    reason: str


@final
@attrs.frozen
class RefusedChange:
    """The change must not be stored. ``code`` is an HTTP status, ``reason`` the one of a Kubernetes Status, such as ``Invalid``."""

    message: str
    code: int
    reason: str


@final
@attrs.frozen
class ReviewAnswer:
    """``refused`` is ``None`` if the change may be stored. ``warnings`` are shown to the author of the request."""

    refused: RefusedChange | None = None
    warnings: tuple[str, ...] = ()


ALLOWED: Final = ReviewAnswer()


def read_review(body: bytes) -> ReviewedChange | Unconcerned | NoReview:
    """Read the body of a request."""
    try:
        review = orjson.loads(body)
    except orjson.JSONDecodeError:
        return NoReview("the body is not JSON")
    if not isinstance(review, dict) or (review.get("apiVersion"), review.get("kind")) != (API_VERSION, KIND):
        return NoReview(f"the body is not an {KIND} of {API_VERSION}")
    request = review.get("request")
    if not isinstance(request, dict):
        return NoReview("the review has no request")
    uid = request.get("uid")
    if not isinstance(uid, str) or not uid:
        return NoReview("the request has no uid")
    if request.get("kind") != _CONFIG_MAP or request.get("subResource") or request.get("operation") not in _JUDGED:
        return Unconcerned(uid)
    after = _config_map(request, "object")
    if after is None:
        return NoReview("the object is not a ConfigMap")
    if request["operation"] == "CREATE":
        return ReviewedChange(uid, after)
    before = _config_map(request, "oldObject")
    return NoReview("the old object is not a ConfigMap") if before is None else ReviewedChange(uid, after, before)


def _config_map(request: Mapping[str, object], field: str) -> ConfigMap | None:
    """Return the ConfigMap in ``field``. While it is being created it may lack namespace and name, which the request has."""
    found = request.get(field)
    metadata = found.get("metadata") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(metadata, dict):
        return None
    names = (metadata.get("name"), request.get("name"), metadata.get("generateName"))
    name = next((name for name in names if isinstance(name, str) and name), None)
    return decode_config_map({**found, "metadata": {**metadata, "namespace": request.get("namespace"), "name": name}})


def write_review(uid: str, answer: ReviewAnswer) -> bytes:
    """Return the body of the response to the request with this ``uid``."""
    response: dict[str, object] = {"uid": uid, "allowed": answer.refused is None}
    if answer.refused is not None:
        refused = answer.refused
        response["status"] = {"status": "Failure", "message": refused.message, "code": refused.code, "reason": refused.reason}
    if answer.warnings:
        response["warnings"] = _bounded(answer.warnings)
    return orjson.dumps({"apiVersion": API_VERSION, "kind": KIND, "response": response})


def _bounded(warnings: tuple[str, ...]) -> list[str]:
    """Return the first warnings, as many as the API server passes on, and how many are missing."""
    shown = [printable(text, WARNING_CHARS) for text in warnings]
    if sum(map(len, shown)) <= WARNINGS_CHARS:
        return shown
    kept: list[str] = []
    room = WARNINGS_CHARS - len(_MORE.format(len(warnings)))
    for text in shown:
        room -= len(text)
        if room < 0:
            break
        kept.append(text)
    return [*kept, _MORE.format(len(shown) - len(kept))]
