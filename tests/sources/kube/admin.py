"""What a cluster's owner does: makes, changes and removes objects, and gives rights. Over the API as it is on the wire, with httpx."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import httpx

from exchanger.policy.selection import DOCUMENT_KEY

Rule = Mapping[str, list[str]]
# The rights that policy from everywhere in the cluster takes.
READ_POLICY: Final[tuple[Rule, ...]] = ({"apiGroups": [""], "resources": ["namespaces", "configmaps"], "verbs": ["get", "list", "watch"]},)
WRITE_EVENTS: Final[Rule] = {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]}
POLICY_LABELS: Final = {"ext-authz-token-exchange.magneticflux.net/enabled": "true"}
NAMESPACE_LABELS: Final = {"ext-authz-token-exchange.magneticflux.net/policy": "enabled"}
RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
AUTHENTICATION: Final = "/apis/authentication.k8s.io/v1"
AUTHORIZATION: Final = "/apis/authorization.k8s.io/v1"
MERGE: Final = "application/merge-patch+json"
# Seconds until something must be seen; most takes milliseconds, but after an outage there may be a minute between two attempts.
SEEN_S: Final = 180.0


def until(holds: Callable[[], bool], said: Callable[[], object] = lambda: "it never came true") -> None:
    """Wait until it holds; what was ``said`` is shown when it does not."""
    deadline = time.monotonic() + SEEN_S
    while not holds():
        assert time.monotonic() < deadline, said()
        time.sleep(0.02)


@attrs.define(eq=False)
class Admin:
    """Requests to one API server; each raises ``httpx.HTTPStatusError`` when it is refused."""

    client: httpx.Client

    def request(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """Make one request and return the JSON of its answer."""
        answer = self.client.request(method, path, json=body, headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer.raise_for_status()
        return answer.json()

    def exists(self, path: str) -> bool:
        """Return whether there is an object at ``path``."""
        return self.client.get(path).status_code != httpx.codes.NOT_FOUND

    def put(self, collection: str, body: Mapping[str, Any]) -> Any:
        """Create an object, or replace the one of its name."""
        answer = self.client.post(collection, json=body)
        if answer.status_code != httpx.codes.CONFLICT:
            answer.raise_for_status()
            return answer.json()
        return self.request("PUT", f"{collection}/{body['metadata']['name']}", body)

    def merge(self, path: str, body: Mapping[str, Any]) -> Any:
        """Merge ``body`` into an object (RFC 7396)."""
        return self.request("PATCH", path, body, Content_Type=MERGE)

    def label(self, path: str, labels: Mapping[str, str | None]) -> Any:
        """Set labels of an object; ``None`` takes one away."""
        return self.merge(path, {"metadata": {"labels": labels}})

    def delete(self, path: str) -> None:
        """Delete an object, or everything in a collection."""
        self.request("DELETE", path)

    # -- the objects that policy is made of

    def put_namespace(self, name: str, labels: Mapping[str, str] = NAMESPACE_LABELS) -> Any:
        """Create or replace a Namespace."""
        return self.put("/api/v1/namespaces", {"metadata": {"name": name, "labels": dict(labels)}})

    def delete_namespace(self, name: str) -> None:
        """Delete a Namespace and its ConfigMaps, until it is gone."""
        path = f"/api/v1/namespaces/{name}"
        self.delete(f"{path}/configmaps")
        self.delete(path)
        # What the controller manager does when it has emptied it: https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/
        self.request("PUT", f"{path}/finalize", {"metadata": {"name": name}, "spec": {"finalizers": []}})

    def put_config_map(self, namespace: str, name: str, document: str | None, labels: Mapping[str, str] = POLICY_LABELS) -> Any:
        """Create or replace a ConfigMap with a policy document."""
        data = {} if document is None else {DOCUMENT_KEY: document}
        return self.put(f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": name, "labels": dict(labels)}, "data": data})

    def delete_config_map(self, namespace: str, name: str) -> None:
        """Delete a ConfigMap."""
        self.delete(f"/api/v1/namespaces/{namespace}/configmaps/{name}")

    def put_secret(self, namespace: str, name: str, texts: Mapping[str, str]) -> Any:
        """Create or replace a Secret."""
        return self.put(f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": name}, "stringData": dict(texts)})

    # -- rights

    def grant(self, name: str, subject: Mapping[str, str], rules: tuple[Rule, ...], namespace: str = "") -> None:
        """Give ``subject`` the rights of ``rules``, in one namespace or everywhere, as role and binding of the name ``name``."""
        prefix = f"{RBAC}/namespaces/{namespace}/" if namespace else f"{RBAC}/cluster"
        kind = "Role" if namespace else "ClusterRole"
        self.put(f"{prefix}roles", {"metadata": {"name": name}, "rules": [dict(rule) for rule in rules]})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
        self.put(f"{prefix}rolebindings", {"metadata": {"name": name}, "roleRef": role, "subjects": [dict(subject)]})

    def withdraw(self, name: str, namespace: str = "") -> None:
        """Take away what ``grant`` gave."""
        prefix = f"{RBAC}/namespaces/{namespace}/" if namespace else f"{RBAC}/cluster"
        self.delete(f"{prefix}rolebindings/{name}")

    def may(self, account: str, home: str, verb: str, resource: str, namespace: str) -> bool:
        """Return whether the API server, which learns of roles by watches of its own, lets a service account of ``home`` do it."""
        asked = {"namespace": namespace, "verb": verb, "resource": resource}
        spec = {"user": f"system:serviceaccount:{home}:{account}", "resourceAttributes": asked}
        allowed: bool = self.request("POST", f"{AUTHORIZATION}/subjectaccessreviews", {"spec": spec})["status"]["allowed"]
        return allowed

    def until_may(self, account: str, home: str, verb: str, resource: str, namespace: str) -> None:
        """Wait until it does."""
        until(lambda: self.may(account, home, verb, resource, namespace))

    def knows(self, token: str) -> bool:
        """Return whether the API server, which learns of accounts by watches of its own, takes ``token``."""
        known: dict[str, Any] = self.request("POST", f"{AUTHENTICATION}/tokenreviews", {"spec": {"token": token}})["status"]
        return bool(known.get("authenticated"))

    def put_service_account(self, name: str, rules: tuple[Rule, ...] = (), namespace: str = "default", *, everywhere: bool = True) -> str:
        """Create a service account with rights, and return a token of it."""
        self.put(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})
        if rules:
            subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
            self.grant(name, subject, rules, "" if everywhere else namespace)
        return self.token(name, namespace)

    def token(self, name: str, namespace: str = "default", seconds: int = 3600) -> str:
        """Return a new token of a service account; the API server makes none for less than 600 seconds."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}}
        token: str = self.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", body)["status"]["token"]
        return token

    def replace_service_account(self, name: str, namespace: str = "default") -> str:
        """Delete and create a service account: tokens that it had are refused from now on. Return a token of the new one."""
        self.delete(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}")
        return self.put_service_account(name, namespace=namespace)
