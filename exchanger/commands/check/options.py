"""The command line of ``exchanger check``. Imported at every start, so it only imports what takes no time."""

import argparse
import enum
from pathlib import Path
from typing import final

import attrs


@enum.unique
class Format(enum.Enum):
    """The output format."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


@enum.unique
class HttpGateway(enum.Enum):
    """A gateway that asks over HTTP."""

    NGINX = "nginx"
    TRAEFIK = "traefik"
    CADDY = "caddy"


@final
@attrs.frozen
class CheckOptions:
    """The parsed arguments. ``issuers`` is a profiles file (``None``: every issuer is known), ``grants`` a grants file (``None``: none).

    ``gateway``: the profiles are for this one (``None``: for Envoy's filters). ``allow_empty``: no policy at the paths is not a failure.
    """

    paths: tuple[str, ...]
    issuers: Path | None = None
    grants: Path | None = None
    format: Format = Format.TEXT
    suggest: bool = False
    allow_empty: bool = False
    gateway: HttpGateway | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to ``parser``."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="manifests: folders, files, or - for standard input")
    parser.add_argument("--issuers", type=Path, metavar="FILE", help="issuer profiles file (default: every issuer counts as known)")
    parser.add_argument("--grants", type=Path, metavar="FILE", help="grants file (default: no grants)")
    parser.add_argument(
        "--gateway",
        choices=[gateway.value for gateway in HttpGateway],
        help="the gateway that asks over HTTP: tells which of the profiles do not fit it; needs --issuers",
    )
    parser.add_argument("--allow-empty", action="store_true", help="exit with 0 if there is no policy at the paths (default: with 2)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--format",
        choices=[form.value for form in Format],
        default=Format.TEXT.value,
        help="text, json, github (annotations of a workflow) or sarif (default: %(default)s)",
    )
    how.add_argument(
        "--suggest",
        action="store_true",
        help="print a unified diff that fixes unambiguous mistakes, and the problems to standard error; no file is changed",
    )


def options_of(namespace: argparse.Namespace) -> CheckOptions:
    """Return the options that the parser has read."""
    form = Format(namespace.format)
    gateway = None if namespace.gateway is None else HttpGateway(namespace.gateway)
    return CheckOptions(
        tuple(namespace.paths), namespace.issuers, namespace.grants, form, namespace.suggest, namespace.allow_empty, gateway
    )
