"""Why documents went is asked of the server by name, in order and in bounded time; without an answer it stays open."""

from urllib.parse import parse_qs, urlsplit

import attrs
import trio

from exchanger.kube.api.connection import ApiConnection
from exchanger.kube.settings import KubernetesSettings
from exchanger.kube.withdrawals import MAX_ASKED, Withdrawals
from exchanger.policy.selection import Change
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.policy.withdrawal import Gone, Reasons
from exchanger.values.entry import Source
from exchanger.values.selector import parse_selector
from tests.kube.scripted_server import Received, answer, connected

SETTINGS = KubernetesSettings(parse_selector("policy=enabled"), parse_selector("enabled=true"))
# By path and name, the labels of what is there.
OBJECTS = {
    ("/api/v1/namespaces", "team"): {"policy": "enabled"},
    ("/api/v1/namespaces", "off"): {},
    ("/api/v1/namespaces/team/configmaps", "unlabelled"): {},
    ("/api/v1/namespaces/team/configmaps", "back"): {"enabled": "true"},
}


def gone(*names: str) -> Change:
    return Change(PolicySnapshot.EMPTY, (), tuple(Source(*name.split("/")) for name in names))


@attrs.define(eq=False)
class Asked:
    requests: list[str] = attrs.field(factory=list)
    told: list[tuple[Change, Reasons]] = attrs.field(factory=list)
    arrived: trio.Event = attrs.field(factory=trio.Event)
    silent: bool = False

    async def script(self, request: Received, stream: trio.abc.Stream) -> None:
        parts = urlsplit(request.target)
        path, name = parts.path, parse_qs(parts.query)["fieldSelector"][0].removeprefix("metadata.name=")
        self.requests.append(f"{path}/{name}")
        if self.silent:
            await trio.sleep_forever()
        kind = "ConfigMap" if path.endswith("configmaps") else "Namespace"
        within = {"namespace": path.split("/")[-2]} if kind == "ConfigMap" else {}
        labels = OBJECTS.get((path, name))
        items = [] if labels is None else [{"metadata": {**within, "name": name, "resourceVersion": "3", "labels": labels}}]
        listed = {"kind": f"{kind}List", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": items}
        await stream.send_all(answer(listed))

    def tell(self, change: Change, reasons: Reasons) -> None:
        self.told.append((change, reasons))
        self.arrived.set()

    async def explain(self, connection: ApiConnection, *changes: Change, settings: KubernetesSettings = SETTINGS) -> list[Reasons]:
        """Return the reasons that were told of ``changes``, in their order."""
        withdrawals = Withdrawals(connection, lambda: settings)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(withdrawals.run)
            for change in changes:
                withdrawals.explain(change, self.tell)
            with trio.move_on_after(0.5 if self.silent else 30):
                while len(self.told) < len(changes):
                    self.arrived = trio.Event()
                    await self.arrived.wait()
            nursery.cancel_scope.cancel()
        assert [change for change, _ in self.told] == list(changes)
        return [reasons for _, reasons in self.told]


async def test_each_reason_is_told_apart_and_versions_stay_in_order() -> None:
    it = Asked()
    first, later = gone("team/deleted", "team/unlabelled", "off/policy", "none/policy", "team/back"), gone()
    async with connected(it.script) as connection:
        reasons, nothing = await it.explain(connection, first, later)
    assert {str(source): reason for source, reason in reasons.items()} == {
        "team/deleted": Gone.DELETED,
        "team/unlabelled": Gone.LABEL,
        "off/policy": Gone.NAMESPACE_LABEL,
        "none/policy": Gone.NAMESPACE,
    }
    assert nothing == {}
    assert it.requests.count("/api/v1/namespaces/team") == 1


async def test_a_namespace_that_is_followed_by_name_is_not_asked_for() -> None:
    it = Asked()
    async with connected(it.script) as connection:
        settings = attrs.evolve(SETTINGS, namespaces=("team",))
        (reasons,) = await it.explain(connection, gone("team/deleted", "other/policy"), settings=settings)
    assert {str(source): reason for source, reason in reasons.items()} == {"team/deleted": Gone.DELETED, "other/policy": Gone.NAMESPACE}
    assert it.requests == ["/api/v1/namespaces/team/configmaps/deleted"]


async def test_a_version_without_withdrawals_is_told_at_once_and_many_withdrawals_are_not_all_asked_for() -> None:
    it = Asked()
    async with connected(it.script) as connection:
        Withdrawals(connection, lambda: SETTINGS).explain(gone(), it.tell)
        assert it.told == [(gone(), {})]
        it.told.clear()
        (reasons,) = await it.explain(connection, gone(*(f"team/p{number}" for number in range(MAX_ASKED + 5))))
    assert len(reasons) == MAX_ASKED


async def test_what_waits_at_the_end_is_told_without_reasons() -> None:
    it = Asked(silent=True)
    async with connected(it.script) as connection:
        assert await it.explain(connection, gone("team/deleted"), gone()) == [{}, {}]
