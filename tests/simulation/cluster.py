"""An API server with the policies of a cluster, and what happens to it."""

from random import Random
from typing import TYPE_CHECKING, Any, Final, cast, final

import attrs
import trio

from exchanger.app.secrets import SecretState, decode_secret, secret_problem
from exchanger.exchange.issuers.secrets import SecretName
from exchanger.policy.selection import ConfigMap, Namespace
from exchanger.sources.kube.api.resource import PolicyListWatches
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind, Key
from tests.simulation.kernel import Kernel
from tests.simulation.kube_api import KubeApi
from tests.sources.kube.fake_api_server import FakeApiServer, FakeListWatch, FakeResource, Initial, Request, Verb

if TYPE_CHECKING:
    from exchanger.sources.kube.api.connection import ApiConnection

CLUSTER_FAULTS: Final = ("down", "cut", "paused", "compacted", "buffers", "429", "forbidden", "slow")
NAMESPACE_LABELS: Final = {"ext-authz-token-exchange.magneticflux.net/policy": "enabled"}
LABELS: Final = {"ext-authz-token-exchange.magneticflux.net/enabled": "true"}

# The namespace of Secrets that may be read, but not watched.
READ_ONLY: Final = "read-only"

# Seconds from a change until it is active at the latest, while nothing is wrong: two gathers, two reads, and what is held back for
# documents that are still to be read.
PROMPT: Final = 3.0
# Seconds from the end of an outage until changes are followed again at the latest: the longest pause between two attempts, and what a
# server that was silent may take to be noticed.
RECOVERY: Final = 40.0


class _Refused(FakeListWatch[SecretState]):
    """A Secret that may be read by its name, but neither listed nor watched."""

    def forbidden(self, verb: str) -> ApiFailure:
        return ApiFailure(FailureKind.FORBIDDEN, 403, f"cannot {verb} secrets")


@final
@attrs.define(eq=False)
class Cluster:
    """The API server: its list watches are the service's own, over what it says in JSON, which is ``strange`` at times."""

    kernel: Kernel
    faults: frozenset[str]
    strange: frozenset[str] = frozenset()
    prompt: float = PROMPT
    server: FakeApiServer = attrs.field(factory=FakeApiServer)
    _namespaces: FakeResource[Namespace] = attrs.field(init=False)
    _config_maps: FakeResource[ConfigMap] = attrs.field(init=False)
    _secrets: FakeResource[SecretState] = attrs.field(init=False)
    api: KubeApi = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._namespaces = FakeResource(self.server, "namespaces")
        self._config_maps = FakeResource(self.server, "configmaps")
        self._secrets = FakeResource(self.server, "secrets")

        self.api = KubeApi(self.kernel, self._view, self.strange)
        if self.strange:
            self.server.initial = self.api.chance.choice([*Initial])

    @property
    def seams(self) -> dict[str, Any]:
        """The arguments of a service that follows it."""
        return {"list_watches": PolicyListWatches(cast("ApiConnection", self.api)), "secrets": self}

    def environment(self) -> dict[str, str]:
        """Return settings of the service."""
        return {}

    def _view(self, resource: str, namespace: str) -> FakeListWatch[Any]:
        if resource == "namespaces":
            return self._namespaces.list_watch(selects=lambda labels: dict(labels).items() >= NAMESPACE_LABELS.items())
        return self._config_maps.list_watch(namespace=namespace, selects=lambda labels: dict(labels).items() >= LABELS.items())

    def list_watch(self, secret: SecretName, /) -> FakeListWatch[SecretState]:
        is_readable_only = secret.namespace == READ_ONLY
        view = _Refused if is_readable_only else FakeListWatch
        return view(self.server, "secrets", secret.namespace, lambda labels: labels["name"] == secret.name)

    async def read(self, secret: SecretName, /) -> SecretState:
        failure = await self.server.admit(Request(trio.current_time(), "secrets", Verb.LIST, ""))
        stored = self.server.objects.get(("secrets", Key(secret.namespace, secret.name)))
        if failure is None and stored is not None:
            found: SecretState = stored.value
            return found
        return secret_problem(secret, failure or ApiFailure(FailureKind.NOT_FOUND, 404))

    def put_secret(self, secret: SecretName, data: object) -> None:
        """Write a Secret, or delete it where ``data`` is ``None``."""
        if data is None:
            self._secrets.delete(secret.name, namespace=secret.namespace)
        else:
            found = decode_secret({"metadata": {"resourceVersion": str(self.server.version + 1)}, "data": data})
            self._secrets.put(secret.name, found, namespace=secret.namespace, labels={"name": secret.name})

    # What authors do.

    def namespace(self, name: str, labels: dict[str, str]) -> None:
        """Write a Namespace."""
        self._namespaces.put(name, Namespace(name, tuple(sorted(labels.items()))), labels=labels)

    def put(self, namespace: str, name: str, labels: dict[str, str], text: str) -> float:
        """Write a ConfigMap, which is there at once."""
        value = ConfigMap(namespace, name, tuple(sorted(labels.items())), text)
        self._config_maps.put(name, value, namespace=namespace, labels=labels)
        return 0.0

    def delete(self, namespace: str, name: str) -> None:
        """Delete a ConfigMap."""
        self._config_maps.delete(name, namespace=namespace)

    # What happens to it.

    def strike(self, chance: Random) -> tuple[str, float]:
        """Let something happen for some seconds, and return what, and after how many the service follows again."""
        kinds = [*sorted(self.faults), *(["strange"] if self.strange else [])]
        if not kinds:
            return "", 0.0
        kind, seconds = chance.choice(kinds), chance.choice([0.1, 1.0, 5.0])
        server = self.server
        failing = ApiFailure(FailureKind.UNREACHABLE, message="connection refused")
        match kind:
            case "down":
                server.stop()
            case "cut":
                server.cut()
            case "paused":
                server.pause()
            case "compacted":
                server.compact()
                server.cut(failing)
            case "429":
                server.failing = ApiFailure(FailureKind.TOO_MANY_REQUESTS, 429, "slow down", retry_after=1.0)
                server.cut()
            case "forbidden":
                server.failing = ApiFailure(FailureKind.FORBIDDEN, 403, "forbidden")
                server.cut()
            case "slow":
                server.latency = 0.5
            case "buffers":
                server.buffers = True
            case "strange":
                self.api.strange_until = self.kernel.now + seconds
                server.cut()
        self.kernel.after(seconds, self.heal)
        return kind, seconds + RECOVERY

    def delay(self, chance: Random) -> tuple[float, float]:
        """Let the watch of ConfigMaps deliver late; return by how many seconds, and after how many the service has everything again."""
        late, seconds = chance.choice([0.2, 1.0, 3.0]), chance.choice([1.0, 5.0])
        self.server.late["configmaps"] = late
        self.kernel.after(seconds, self.server.late.clear)
        return late, seconds + late + self.prompt

    def heal(self) -> None:
        """End all of that."""
        self.server.latency = self.api.strange_until = 0.0
        self.server.heal()
