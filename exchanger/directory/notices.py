"""What in a folder was probably meant to be policy and is not in force. Pure.

Must not know: who is told.
"""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Final

from exchanger.directory.folder import SUFFIXES, Scan
from exchanger.policy.notices import is_declined, of_config_maps, of_namespaces
from exchanger.policy.selection import ConfigMap, Namespace
from exchanger.util.text import distance
from exchanger.values.notice import Notice, Notices
from exchanger.values.selector import Selector

_ENDINGS: Final = ", ".join(SUFFIXES)
_WITH_MORE: Final = re.compile(r"(.*\.(?:ya?ml|json))[^/a-z0-9][^/]*", re.IGNORECASE | re.DOTALL)
"""A manifest's name with something after it, such as ``.txt`` or ``~``."""
_OTHER_ENDINGS: Final = frozenset({".xml", ".jsonl", ".json5", ".jsonc"})
"""Names that are nearly ours, and are those of other formats."""


def notices_of(scan: Scan, namespaces: Selector, config_maps: Selector) -> Notices:
    """Return what is probably a mistake in a folder; what follows from the version in force is not its business."""
    known = tuple(scan.manifests())
    described = tuple(item for item in known if isinstance(item, Namespace))
    settled: dict[str, bool] = {}
    for item in described:
        selected = namespaces.matches(dict(item.labels)) or is_declined(item.labels, namespaces)
        settled[item.name] = settled.get(item.name, False) or selected
    found = (item for item in known if isinstance(item, ConfigMap))
    return Notices.of(
        chain(
            _of_files(scan),
            of_namespaces((item for item in described if not settled[item.name]), namespaces, config_maps),
            of_config_maps(found, settled, config_maps, namespaces),
        )
    )


def _of_files(scan: Scan) -> Iterator[Notice]:
    read = {name for name, _ in scan.files}
    for name in scan.others:
        if name.endswith("/"):
            yield Notice(f"folder {name}", "is not read: it lies too deep", "move it up")
        elif _is_meant(name, read):
            yield Notice(f"file {name}", f"is skipped: its name does not end in {_ENDINGS}", f"rename it to end in one of {_ENDINGS}")
    for name, passed_over in scan.passed_over():
        yield Notice(f"file {name}", passed_over.reason, passed_over.remedy)


def _is_meant(name: str, read: set[str]) -> bool:
    """Tell whether ``name`` is probably that of a manifest. What an editor keeps beside a file (``p.yaml~``) is none."""
    more = _WITH_MORE.fullmatch(name)
    if more is not None:
        return more[1] not in read
    dot = name.rfind(".")
    ending = name[dot:].lower() if dot > name.rfind("/") else ""
    return ending not in _OTHER_ENDINGS and any(distance(ending, suffix) <= 1 for suffix in SUFFIXES)
