"""AdmissionReview: what is understood of an API server's question, and what its answer looks like."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.app.admission.review import (
    ALLOWED,
    WARNING_CHARS,
    WARNINGS_CHARS,
    NoReview,
    RefusedChange,
    ReviewAnswer,
    ReviewedChange,
    Unconcerned,
    read_review,
    write_review,
)
from tests.app.admission.reviews import DENY, UID, body, config_map, review

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PATHS = (
    *(("kind",), ("apiVersion",), ("request",), ("request", "uid"), ("request", "kind"), ("request", "operation")),
    *(("request", "object"), ("request", "object", "metadata"), ("request", "object", "metadata", "labels"), ("request", "object", "data")),
    *(("request", "oldObject"), ("request", "namespace"), ("request", "name"), ("request", "object", "data", "config.yaml")),
)


def placed(value: Any, path: tuple[str, ...], new: Any) -> Any:
    return {**value, path[0]: placed(value[path[0]], path[1:], new)} if path else new


@given(st.binary(max_size=200))
def test_any_bytes_are_understood_or_are_no_review(data: bytes) -> None:
    assert isinstance(read_review(data), NoReview)


@given(st.sampled_from(PATHS), json_values)
def test_a_review_with_anything_anywhere_is_understood_or_is_no_review(path: tuple[str, ...], value: Any) -> None:
    data = json.dumps(placed(review(config_map(), config_map()), path, value)).encode()
    found = read_review(data)
    assert isinstance(found, ReviewedChange | Unconcerned | NoReview)
    if isinstance(found, NoReview):
        assert DENY not in found.reason
    elif path != ("request", "uid"):
        assert found.uid == UID


def test_an_update_has_both_states() -> None:
    found = read_review(body(config_map(DENY), config_map(None)))
    assert isinstance(found, ReviewedChange)
    assert found.before is not None
    assert (found.after.document, found.before.document) == (DENY, None)


@pytest.mark.parametrize(
    "metadata", [{"name": None}, {"name": ""}, {"namespace": None}, {"generateName": "policy-", "name": None}], ids=str
)
def test_what_a_new_object_lacks_is_taken_from_the_request(metadata: dict[str, Any]) -> None:
    found = read_review(body(config_map(**metadata), name="" if "generateName" in metadata else "policy"))
    assert isinstance(found, ReviewedChange)
    assert (found.after.namespace, found.after.name) == ("team", "policy-" if "generateName" in metadata else "policy")


@pytest.mark.parametrize(
    "request_of",
    [
        {"operation": "DELETE", "object": None},
        {"operation": "CONNECT"},
        {"kind": {"group": "", "version": "v1", "kind": "Secret"}},
        {"kind": {"group": "example.com", "version": "v1", "kind": "ConfigMap"}},
        {"subResource": "status"},
    ],
    ids=str,
)
def test_what_no_policy_can_come_from_is_not_checked(request_of: dict[str, Any]) -> None:
    assert read_review(body(config_map("broken"), **request_of)) == Unconcerned(UID)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"[]", "the body is not an AdmissionReview of admission.k8s.io/v1"),
        (body(config_map()).replace(b"k8s.io/v1", b"k8s.io/v1beta1"), "the body is not an AdmissionReview of admission.k8s.io/v1"),
        (body(config_map(), uid=""), "the request has no uid"),
        (body(None), "the object is not a ConfigMap"),
        (body(config_map(), "old"), "the old object is not a ConfigMap"),
        (json.dumps({**review(None), "request": None}).encode(), "the review has no request"),
    ],
)
def test_what_is_no_review_is_said(data: bytes, reason: str) -> None:
    assert read_review(data) == NoReview(reason)


def test_an_answer_has_the_request_s_uid() -> None:
    assert json.loads(write_review(UID, ALLOWED)) == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": UID, "allowed": True},
    }
    refused = json.loads(write_review(UID, ReviewAnswer(RefusedChange("why", 422, "Invalid"), ("beware",))))["response"]
    assert refused == {
        "uid": UID,
        "allowed": False,
        "status": {"status": "Failure", "message": "why", "code": 422, "reason": "Invalid"},
        "warnings": ["beware"],
    }


@given(st.lists(st.text(max_size=400), max_size=40))
def test_warnings_are_no_longer_than_the_api_server_passes_on(texts: list[str]) -> None:
    shown = json.loads(write_review(UID, ReviewAnswer(warnings=tuple(texts))))["response"].get("warnings", [])
    assert all(len(text) <= WARNING_CHARS and text.isprintable() for text in shown)
    assert sum(map(len, shown)) <= WARNINGS_CHARS
    assert len(shown) <= len(texts)
    if len(shown) < len(texts):
        assert shown[-1] == f"and {len(texts) - len(shown) + 1} more"


def test_warnings_over_the_limit_are_cut_and_their_number_is_shown() -> None:
    texts = tuple(f"{number} {'x' * 200}" for number in range(40))
    shown = json.loads(write_review(UID, ReviewAnswer(warnings=texts)))["response"]["warnings"]
    assert shown == [*texts[: len(shown) - 1], f"and {40 - len(shown) + 1} more"]
    assert WARNINGS_CHARS - 2 * len(texts[0]) < sum(map(len, shown)) <= WARNINGS_CHARS
