"""The arguments of ``exchanger explain``, ``test`` and ``diff``. Imported at every start, so it only imports what takes no time."""

import argparse
from pathlib import Path
from typing import Final

_POLICY: Final = "manifests: folders, files, or - for standard input"
_ISSUERS: Final = "issuer profiles file (default: every issuer counts as known)"
_GRANTS: Final = "grants file (default: no grants)"


def add_explain(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``exchanger explain``."""
    parser.add_argument("method", metavar="METHOD", help="for example GET")
    parser.add_argument("url", metavar="URL", help="for example https://orders.example.com/orders/1")
    parser.add_argument(
        "-H",
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="header of the request; may be repeated. A bearer token is assumed unless Authorization is given; 'Authorization:' sends none",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--policy", nargs="+", action="extend", default=[], metavar="PATH", help=_POLICY)
    where.add_argument("--cluster", action="store_true", help="use the policies of a cluster, by kubeconfig")
    where.add_argument("--console", default="", metavar="URL", help="use the active policies at a running service, by its console")
    parser.add_argument("--console-token-file", type=Path, metavar="FILE", help="the console's token")
    parser.add_argument("--kubeconfig", default="", metavar="FILE", help="kubeconfig file (default: the same as kubectl)")
    parser.add_argument("--context", default="", metavar="NAME", help="context of the kubeconfig (default: the current context)")
    _add_files(parser)
    parser.add_argument("--raw", action="store_true", help="the gateway sends headers byte for byte (encode_raw_headers, ext_proc)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def add_test(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``exchanger test``."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="test files: requests and their expected decisions")
    parser.add_argument("--policy", nargs="+", action="extend", required=True, metavar="PATH", help=_POLICY)
    _add_files(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def add_diff(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``exchanger diff``."""
    parser.add_argument("old", metavar="OLD", help=_POLICY)
    parser.add_argument("new", metavar="NEW", help="the same, with the changes")
    for side in ("old", "new"):
        parser.add_argument(f"--{side}-grants", type=Path, metavar="FILE", help=_GRANTS)
        parser.add_argument(f"--{side}-issuers", type=Path, metavar="FILE", help=_ISSUERS)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--issuers", type=Path, metavar="FILE", help=_ISSUERS)
    parser.add_argument("--grants", type=Path, metavar="FILE", help=_GRANTS)
