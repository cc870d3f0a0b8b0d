"""The command line of ``exchanger status``.

Must not know: what is done with it.
"""

import argparse
from pathlib import Path
from typing import final

import attrs


@final
@attrs.frozen
class StatusOptions:
    """The parsed arguments.

    ``kubeconfig`` "": by KUBECONFIG or the pod; ``context`` "": by KUBE_CONTEXT or the file; ``issuers`` is a profiles file,
    ``grants`` a grants file. ``directory`` is a folder of manifests in the place of a cluster;
    ``service`` is the URL of a running service's metrics port, "" for none.
    """

    kubeconfig: str = ""
    context: str = ""
    issuers: Path | None = None
    json: bool = False
    grants: Path | None = None
    directory: Path | None = None
    service: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to ``parser``."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--directory",
        type=Path,
        metavar="FOLDER",
        help="read this folder of manifests (default: POLICY_DIRECTORY with POLICY_SOURCE=directory, otherwise a cluster)",
    )
    where.add_argument("--service", default="", metavar="URL", help="ask a running service's metrics port, such as http://127.0.0.1:3002")
    where.add_argument(
        "--kubeconfig", default="", metavar="FILE", help="kubeconfig file (default: the same as kubectl, or the pod's own cluster)"
    )
    parser.add_argument(
        "--context", default="", metavar="NAME", help="context of the kubeconfig (default: KUBE_CONTEXT, or the current context)"
    )
    parser.add_argument(
        "--issuers",
        type=Path,
        metavar="FILE",
        help="issuer profiles file, to check issuerRef (default: TOKEN_EXCHANGE_ISSUER_PROFILES_FILE; with neither, it is not checked)",
    )
    parser.add_argument(
        "--grants",
        type=Path,
        metavar="FILE",
        help="grants file, to show what is refused (default: POLICY_GRANTS_FILE; with neither, nothing). With POLICY_GRANTS_MODE=report, "
        "what would be",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def options_of(namespace: argparse.Namespace) -> StatusOptions:
    """Return the options that ``parser`` has read."""
    return StatusOptions(**{field.name: getattr(namespace, field.name) for field in attrs.fields(StatusOptions)})
