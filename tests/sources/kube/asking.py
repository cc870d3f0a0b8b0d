"""A client of a real API server, and short ways to ask it."""

from collections.abc import AsyncIterator, Callable
from typing import Final

import trio

from exchanger.model.selector import parse_selector
from exchanger.policy.selection import ConfigMap
from exchanger.sources.kube.api.client import ClusterConfigSource
from exchanger.sources.kube.api.connection import ApiConnection
from exchanger.sources.kube.api.resource import PolicyListWatches
from exchanger.sources.kube.list_watch import Bookmark, Item, ListWatch, Opened, Page, Put, WatchEvent
from tests.sources.kube.admin import NAMESPACE_LABELS, POLICY_LABELS
from tests.sources.kube.control_plane import ControlPlane
from tests.sources.kube.kubeconfig import origin_of

ENABLED: Final = "ext-authz-token-exchange.magneticflux.net/enabled=true"
# What selects Namespaces and ConfigMaps unless the service is told otherwise.
BY_NAMESPACE, BY_CONFIG_MAP = (
    parse_selector(",".join(f"{name}={text}" for name, text in labels.items())) for labels in (NAMESPACE_LABELS, POLICY_LABELS)
)
# Seconds for an event to come; it takes some milliseconds.
EVENT_S: Final = 60.0


def origin(control_plane: ControlPlane, token: str) -> ClusterConfigSource:
    return origin_of(control_plane.kubeconfig("kubeconfig", token=token))


def config_maps(connection: ApiConnection, namespace: str) -> ListWatch[ConfigMap]:
    return PolicyListWatches(connection).config_maps(ENABLED, namespace)


async def do(change: Callable[[], object]) -> None:
    """Make a change without holding up the tasks that wait for it."""
    await trio.to_thread.run_sync(change)


async def following(events: AsyncIterator[WatchEvent[ConfigMap]]) -> WatchEvent[ConfigMap]:
    """Return the next event that says something of an object."""
    with trio.fail_after(EVENT_S):
        while isinstance(event := await anext(events), Bookmark | Opened):
            pass
    return event


async def page_of(resource: ListWatch[ConfigMap], limit: int = 500, token: str = "") -> Page[ConfigMap]:
    found = await resource.list_page(limit=limit, continue_token=token)
    assert isinstance(found, Page), found
    return found


def item_of(event: WatchEvent[ConfigMap]) -> Item[ConfigMap]:
    assert isinstance(event, Put), event
    return event.item
