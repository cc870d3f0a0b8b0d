"""AdmissionReviews as API servers write them, and a cluster that is known."""

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from exchanger.app.admission.judgement import KnownPolicy
from exchanger.model.entry import Source
from exchanger.policy.documents.document import Labels, parse_document
from exchanger.policy.snapshot import PolicySnapshot
from tests.policy.examples import with_documents

UID: Final = "705ab4f5-6393-11e8-b7cc-42010a800002"
CONFIG_MAP: Final = {"group": "", "version": "v1", "kind": "ConfigMap"}
LABELS: Final = {"policy": "yes"}
DENY: Final = "version: v1\nentries: [{match: {host: a.example, pathPrefix: /a}, action: deny}]"
BROKEN: Final = "version: v1\nentries: [{match: {host: a.example, pathPrefix: /a}, action: dney}]"


def config_map(document: str | None = DENY, labels: Mapping[str, str] | None = LABELS, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "policy", "namespace": "team", "labels": labels, **metadata},
        "data": {} if document is None else {"config.yaml": document},
    }


def review(after: object, before: object = None, **request: Any) -> dict[str, Any]:
    """Return the review of a creation, or of an update of ``before``."""
    asked = {
        "uid": UID,
        "kind": CONFIG_MAP,
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "operation": "CREATE" if before is None else "UPDATE",
        "namespace": "team",
        "name": "policy",
        "userInfo": {"username": "alice"},
        "object": after,
        "oldObject": before,
        "dryRun": False,
        **request,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}


def body(after: object, before: object = None, **request: Any) -> bytes:
    return json.dumps(review(after, before, **request)).encode()


@attrs.define
class FakeCluster:
    """Implements ``webhook.Cluster``."""

    known: KnownPolicy | None = attrs.field(factory=lambda: KnownPolicy(issuers=frozenset({"primary"})))
    namespaces: dict[str, tuple[Labels, ...]] = attrs.field(factory=lambda: {"team": ()})

    def labels_of(self, namespace: str, /) -> tuple[Labels, ...] | None:
        return self.namespaces.get(namespace)


def policies(**documents: str) -> PolicySnapshot:
    """Return a snapshot with documents by the names of their Namespaces."""
    found = (parse_document(Source(namespace, "policy"), text, frozenset({"primary"})) for namespace, text in documents.items())
    return with_documents(PolicySnapshot.EMPTY, *found)
