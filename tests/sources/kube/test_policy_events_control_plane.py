"""Events at a real API server: it takes them, they are found with their ConfigMap, and what repeats is one object."""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import pytest
import trio

from exchanger.model.entry import Source
from exchanger.sources.kube.api.client import connect
from tests.sources.kube.admin import WRITE_EVENTS, Admin
from tests.sources.kube.asking import origin
from tests.sources.kube.cluster import deny
from tests.sources.kube.control_plane import ControlPlane
from tests.sources.kube.telling import Stage, stage

pytestmark = pytest.mark.kubernetes

SEEN_S: Final = 60.0
INVALID: Final = "version: v1\nentries:\n- {action: deny}\n" + "- {match: {host: h}}\n" * 100


@attrs.frozen
class Author:
    """Changes one document, and looks for Events."""

    admin: Admin
    stage: Stage
    source: Source

    def write(self, text: str) -> None:
        self.stage.put_in(self.source.namespace, **{self.source.name: text})

    async def sees(self, *expected: tuple[str, int]) -> list[dict[str, Any]]:
        """Return the Events of the ConfigMap, once they are as ``expected``: reasons and counts, the oldest first."""
        involved = f"involvedObject.kind=ConfigMap,involvedObject.name={self.source.name}"
        path = f"/api/v1/namespaces/{self.source.namespace}/events?fieldSelector={involved}"
        found: list[dict[str, Any]] = []
        with trio.move_on_after(SEEN_S):
            while True:
                found = (await trio.to_thread.run_sync(self.admin.request, "GET", path))["items"]
                found.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
                if sorted((event["reason"], event["count"]) for event in found) == sorted(expected):
                    return found
                await trio.sleep(0.02)
        raise AssertionError([(event["reason"], event["count"]) for event in found])


@asynccontextmanager
async def author(control_plane: ControlPlane, namespace: str, name: str = "policy") -> AsyncGenerator[Author]:
    admin = control_plane.admin
    admin.put_namespace(namespace)
    token = admin.put_service_account("writer", (WRITE_EVENTS,), namespace, everywhere=False)
    for verb in WRITE_EVENTS["verbs"]:
        admin.until_may("writer", namespace, verb, "events", namespace)
    async with connect(origin(control_plane, token)) as connection, stage(connection=connection) as at:
        yield Author(admin, at, Source(namespace, name))


async def test_an_author_is_told_and_what_repeats_is_counted(control_plane: ControlPlane) -> None:
    async with author(control_plane, "told") as it:
        it.write(INVALID)
        (event,) = await it.sees(("InvalidPolicy", 1))
        assert event["type"] == "Warning"
        assert event["message"].startswith("line 3: POL-1102: entries[0].match is required; ")
        assert len(event["message"].encode()) <= 1024
        assert (event["reportingComponent"], event["source"]) == ("exchanger", {"component": "exchanger"})
        it.write(deny())
        await it.sees(("InvalidPolicy", 1), ("PolicyActive", 1))
        it.write(INVALID)
        await it.sees(("InvalidPolicy", 2), ("PolicyActive", 1))
        assert it.stage.missing == []


async def test_another_instance_adds_to_the_same_object(control_plane: ControlPlane) -> None:
    longest_name = "a" * 235 + "." + "b" * 17
    for count in (1, 2, 3):
        async with author(control_plane, "replicas", name=longest_name) as it:
            it.write("version: v2")
            await it.sees(("InvalidPolicy", count))


async def test_a_namespace_that_is_going_away_is_no_missing_right(control_plane: ControlPlane) -> None:
    async with author(control_plane, "going") as it:
        it.admin.delete("/api/v1/namespaces/going")  # without a controller manager it stays in this state
        it.write("version: v2")
        with trio.fail_after(SEEN_S):
            while math.isinf(it.stage.events.bucket.ready_at()):  # noqa: ASYNC110 - same
                await trio.sleep(0.02)
        await trio.sleep(1.0)
        assert (it.stage.missing, it.stage.events.pending) == ([], 0)
