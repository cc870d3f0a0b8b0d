import pytest

from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.kube.observer import missing_right

CLUSTER = '{0} is forbidden: User "system:serviceaccount:x:y" cannot {1} resource "{0}" in API group "" at the cluster scope'


@pytest.mark.parametrize(
    ("resource", "namespace", "message", "right"),
    [
        ("namespaces", "", CLUSTER.format("namespaces", "list"), "needs list on namespaces"),
        ("configmaps", "", CLUSTER.format("configmaps", "watch"), "needs watch on configmaps in every namespace"),
        (
            "configmaps",
            "a",
            'User "u" cannot list resource "configmaps" in the namespace "a"',
            "needs list on configmaps in the namespace a",
        ),
        ("configmaps", "a", "", "needs list and watch on configmaps in the namespace a"),
        ("namespaces", "", "User cannot escalate resource", "needs list and watch on namespaces"),
    ],
)
def test_a_forbidden_request_names_the_right(resource: str, namespace: str, message: str, right: str) -> None:
    assert missing_right(resource, namespace, ApiFailure(FailureKind.FORBIDDEN, 403, message)) == right


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind is not FailureKind.FORBIDDEN])
def test_no_other_failure_is_about_rights(kind: FailureKind) -> None:
    assert missing_right("configmaps", "", ApiFailure(kind, 401, CLUSTER.format("configmaps", "list"))) == ""
