"""Reads devspace.yaml as DevSpace does: profiles merged, variables filled in."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

FILE: Final = Path(__file__).resolve().parents[1] / "devspace.yaml"
# What others need comes first, as in the pipelines of the file.
ORDER: Final = ("gateway-api", "istio-base", "istiod", "cert-manager", "gateway", "demo", "exchanger", "app")


def merged(target: Any, patch: Any) -> Any:
    """Return ``target`` with ``patch`` merged into it, as DevSpace merges profiles (RFC 7396)."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def with_profiles(names: Sequence[str], variables: Mapping[str, str]) -> dict[str, Any]:
    """Return devspace.yaml with profiles applied and variables filled in: ``variables``, else their defaults."""
    config: dict[str, Any] = yaml.safe_load(FILE.read_text())
    profiles = {profile["name"]: profile for profile in config.pop("profiles")}

    def apply(result: Any, name: str) -> Any:
        profile = profiles[name]
        for parent in profile.get("parents", ()):
            result = apply(result, parent["profile"])
        return merged(result, profile.get("merge", {}))

    for name in names:
        config = apply(config, name)
    defaults = {name: variable["default"] for name, variable in config["vars"].items()}
    values = {**defaults, **variables}

    def fill(node: Any) -> Any:
        if isinstance(node, str):
            return re.sub(r"\$\{([\w.]+)\}", lambda found: values.get(found[1], found[0]), node)
        if isinstance(node, list):
            return [fill(each) for each in node]
        return {name: fill(value) for name, value in node.items()} if isinstance(node, dict) else node

    filled: dict[str, Any] = fill(config)
    return filled


def variables() -> dict[str, str]:
    """Return the variables of devspace.yaml that the environment sets, as for DevSpace."""
    names = yaml.safe_load(FILE.read_text())["vars"]
    return {name: os.environ[name] for name in names if os.environ.get(name)}
