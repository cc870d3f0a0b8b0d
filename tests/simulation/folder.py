"""A folder of manifests, as editors, scripts and kubelet write it, and what tells the service of changes."""

import json
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path
from random import Random
from typing import Any, Final, final

import attrs
import trio

from exchanger.sources.directory.source import RESCAN_S, RESTLESS_S
from tests.simulation.files import clear, put
from tests.simulation.kernel import Kernel

# How files are written, and what happens to them, to the folder, and to its notifications.
WRITTEN: Final = ("in place", "in pieces", "another name", "symlink")
STRIKES: Final = ("unreadable", "empty", "gone", "unnotified")
FOLDER_FAULTS: Final = (*WRITTEN, *STRIKES, "notified late", "notified twice")
# Seconds from a change until the service has read it at the latest: a notification may be lost, so that the next look finds it.
READ: Final = 1.5
# Seconds from a change until it is active at the latest: what loosens waits for changes after it, and for the look that ends the wait.
PROMPT: Final = READ + RESTLESS_S + RESCAN_S


@final
@attrs.define(eq=False)
class Folder:
    """``root`` is what the service follows. ``mounted``: it is a ConfigMap that kubelet has mounted, and changes as a whole.

    ``untouched``: the service begins. What it cannot read then closes everything, so nothing is done to files for that time.

    Every text that is written has another length: a file system's clock, which is not simulated, may not tell two versions apart.
    """

    kernel: Kernel
    root: Path
    faults: frozenset[str]
    mounted: bool
    prompt: float = PROMPT
    untouched: bool = attrs.field(default=False, init=False)
    chance: Random = attrs.field(init=False)
    _texts: dict[str, str] = attrs.field(factory=dict, init=False)
    _names: dict[str, str] = attrs.field(factory=dict, init=False)
    _writes: dict[str, int] = attrs.field(factory=dict, init=False)
    _whole: dict[str, float] = attrs.field(factory=dict, init=False)
    _number: int = attrs.field(default=0, init=False)
    _home: Path = attrs.field(init=False)
    _deaf: bool = attrs.field(default=False, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.chance, self._home = self.kernel.random("folder"), self.root
        self.root.mkdir()

    # What authors do.

    def namespace(self, name: str, labels: dict[str, str]) -> None:
        """Write a Namespace."""
        self._write(name, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}, "")

    def put(self, namespace: str, name: str, labels: dict[str, str], text: str) -> float:
        """Write a ConfigMap, and return how many seconds it may take until all of it is there."""
        metadata = {"namespace": namespace, "name": name, "labels": labels}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"config.yaml": text}}
        return self._write(f"{namespace}-{name}", manifest, self._some(WRITTEN))

    def delete(self, namespace: str, name: str) -> None:
        """Delete a ConfigMap."""
        key = f"{namespace}-{name}"
        self._count(key)
        if self._texts.pop(key, None) is not None:
            if self.mounted:
                self._mount()
            else:
                clear(self._home / self._names.pop(key))
            self._notify()

    def _some(self, kinds: tuple[str, ...]) -> str:
        able = [kind for kind in kinds if kind in self.faults and not self.untouched]
        return self.chance.choice(able) if able and self.chance.random() < 0.7 else ""

    def _count(self, key: str) -> int:
        self._writes[key] = self._writes.get(key, 0) + 1
        return self._writes[key]

    def _write(self, key: str, manifest: object, how: str) -> float:
        self._number += 1
        said = json.dumps(manifest)
        self._texts[key] = said + " " * (2_000 + self._number - len(said)) + "\n"
        self.kernel.tell("folder", "has", key, how)
        version, seconds = self._count(key), 0.0
        if self.mounted:
            self._mount()
        elif how == "in pieces" and key in self._names and self.kernel.now > self._whole[key] + READ:
            # The service has read this file: of one that is new to it and half written, nothing stays active.
            seconds = self.chance.choice([0.05, 1.0, 3.0])
            text = "" if self.chance.random() < 0.5 else said[: self.chance.randrange(len(said))]
            put(self._home / self._names[key], text.encode(), how, self._number)
            self._whole[key] = self.kernel.now + seconds
            self.kernel.after(seconds, self._complete, key, version)
        else:
            self._place(key, how)
        self._notify()
        return seconds

    def _complete(self, key: str, version: int) -> None:
        if self._writes[key] == version:
            self._place(key, "in place")
            self._notify()

    def _place(self, key: str, how: str) -> None:
        """Write all of a file."""
        self._whole[key] = self.kernel.now
        before = self._names.get(key, f"{key}.yaml")
        name = f"{key}-{self._number}.json" if how == "another name" else before
        put(self._home / name, self._texts[key].encode(), how, self._number)
        self._names[key] = name
        if name != before:  # after the new one is there
            clear(self._home / before)

    def _mount(self) -> None:
        """Let all files change at once, as kubelet does: a new hidden folder, the link to it, then links to its files."""
        self._number += 1
        version, data = self._home / f"..{self._number}", self._home / "..data"
        version.mkdir()
        for key, text in self._texts.items():
            (version / f"{key}.yaml").write_text(text)
        link = self._home / "..data_tmp"
        link.symlink_to(version.name)
        old = data.readlink() if data.is_symlink() else None
        link.replace(data)
        for key in self._texts:
            if not (path := self._home / f"{key}.yaml").is_symlink():
                path.symlink_to(f"..data/{key}.yaml")
        for path in sorted(self._home.glob("*.yaml")):
            if path.stem not in self._texts:
                path.unlink()
        if old is not None:
            shutil.rmtree(self._home / old)

    # What happens to it.

    def strike(self, chance: Random) -> tuple[str, float]:
        """Let something happen for some seconds, and return what, and after how many the service follows again."""
        kinds = [kind for kind in STRIKES if kind in self.faults and (not self.mounted or kind in {"gone", "unnotified"})]
        # What the service has read stays active, so these are files that it has read.
        known = [key for key in sorted(self._names) if self.kernel.now > self._whole[key] + READ]
        if self.untouched or not kinds or not (known or self.mounted):
            return "", 0.0
        kind, seconds = chance.choice(kinds), chance.choice([0.1, 1.0, 5.0])
        match kind:
            case "unreadable" | "empty":
                key = chance.choice(known)
                for one in known if kind == "empty" else [key]:  # all are empty, as where a disk was full
                    how = "in place" if kind == "empty" else chance.choice(["folder", "dangling", "pipe"])
                    put(self._home / self._names[one], b"", how, self._number)
                    self.kernel.after(seconds, self._complete, one, self._count(one))
                self._notify()
                return kind, 0.0
            case "gone":
                self._move(self.root.with_name("away"))
                self.kernel.after(seconds, self._move, self.root)
            case "unnotified":
                self._deaf = True
                self.kernel.after(seconds, self._hear)
                return kind, 0.0
        return kind, seconds + self.prompt

    def _move(self, home: Path) -> None:
        if self._home != home:
            self._home = self._home.rename(home)
            self._notify()

    def _hear(self) -> None:
        self._deaf = False

    def heal(self) -> None:
        """End all of that, for good."""
        self.faults = frozenset()
        self.mend()

    def mend(self) -> None:
        """End what happens now."""
        self._move(self.root)
        self._hear()
        for key in self._names:
            self._complete(key, self._count(key))

    # What tells the service.

    @property
    def seams(self) -> dict[str, Any]:
        """The arguments of a service that follows it."""
        return {"watch": self.watch}

    def environment(self) -> dict[str, str]:
        """Return settings of the service."""
        return {"POLICY_SOURCE": "directory", "POLICY_DIRECTORY": str(self.root)}

    def _notify(self) -> None:
        if self._deaf:
            return
        late = self.chance.uniform(0.0, 2.0) if "notified late" in self.faults else 0.0
        self.kernel.after(self.chance.uniform(0.03, 0.15) + late, self._tell)
        if "notified twice" in self.faults:
            self.kernel.after(self.chance.uniform(0.03, 0.3), self._tell)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def watch(self, _folder: Path, _end: trio.Event, /) -> AsyncGenerator[None]:
        """Yield when the folder may have changed, and every ``RESCAN_S``."""
        while True:
            changed = self._changed
            with trio.move_on_after(RESCAN_S):
                await changed.wait()
            yield
