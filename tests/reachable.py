"""What a program still holds: the texts that can be reached from some of its objects, and from the modules of the package."""

import gc
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from types import CodeType, CoroutineType, FunctionType, ModuleType
from typing import Final

import trio
from rpds import HashTrieMap

PACKAGE: Final = "exchanger"
_OTHERS: Final = ("tests", "pytest", "_pytest", "hypothesis", "_hypothesis")


def holders(needle: str, *roots: object) -> list[str]:
    """Return how each text with ``needle`` in it is reached, as the types on the way, from ``roots`` and the package's modules.

    Tests must not be among them: what a fake peer was sent is not what the program holds.
    """
    gc.collect()
    wanted = needle.encode()
    modules = [vars(module) for name, module in list(sys.modules.items()) if name.split(".")[0] == PACKAGE]
    # By id: the object itself, so that none is freed meanwhile, and the id of the one that leads to it.
    seen: dict[int, tuple[object, int]] = {id(root): (root, 0) for root in (*roots, *modules)}
    todo: list[object] = [*roots, *modules]
    found: list[int] = []
    while todo:
        one = todo.pop()
        for other in _inner(one):
            if id(other) in seen:
                continue
            seen[id(other)] = other, id(one)
            if isinstance(other, str | bytes | bytearray):
                text = other.encode("utf-8", "surrogatepass") if isinstance(other, str) else other
                if wanted in text:
                    found.append(id(other))
            else:
                todo.append(other)
    return [" < ".join(_way(at, seen)) for at in found]


def text_held(root: object) -> int:
    """Return how many characters and bytes are in texts that are reachable from ``root``, apart from types and code."""
    seen, held, todo = {id(root)}, 0, deque([root])
    while todo:
        one = todo.popleft()
        if isinstance(one, str | bytes | bytearray):
            held += len(one)
            continue
        for other in gc.get_referents(one):
            if id(other) not in seen and not isinstance(other, type | ModuleType | FunctionType | CodeType):
                seen.add(id(other))
                todo.append(other)
    return held


def _inner(one: object) -> Iterable[object]:
    if isinstance(one, ModuleType | trio.lowlevel.Task) and _is_of_others(one.__name__ if isinstance(one, ModuleType) else one.name):
        return ()
    if isinstance(one, dict) and "__spec__" in one and str(one.get("__name__")).split(".")[0] != PACKAGE:
        return ()
    if isinstance(one, type) and one.__module__.split(".")[0] != PACKAGE:
        return ()
    # Those that run are the test that searches, and what called it. From CPython 3.13 on, the collector sees what is on their stacks: the
    # needle.
    if isinstance(one, CoroutineType) and one.cr_running:
        return ()
    if isinstance(one, HashTrieMap):  # the collector does not see into these
        return [part for pair in one.items() for part in pair]
    return () if _is_of_others(type(one).__module__) else gc.get_referents(one)


def _is_of_others(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in _OTHERS


def _way(at: int, seen: dict[int, tuple[object, int]]) -> Iterator[str]:
    while at:
        one, at = seen[at]
        yield type(one).__qualname__
