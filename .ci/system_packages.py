"""Installs Debian's packages where a tool is missing, which takes root or sudo that does not ask."""

import os
import subprocess
from typing import Final

INSTALL_S: Final = 600.0
"""Seconds: some hundred MB of packages, and another installation's lock to wait for."""


class PackageError(Exception):
    """The packages cannot be installed."""


def install(*packages: str) -> None:
    """Install ``packages`` with what they cannot do without.

    Raises:
        PackageError: there is no apt, no right to use it, or no such package.
    """
    prefix = () if os.geteuid() == 0 else ("sudo", "-n")
    apt = (*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "-o", f"DPkg::Lock::Timeout={INSTALL_S:.0f}")
    try:
        # What apt says belongs to the log, not to those who read where a tool is from standard output.
        subprocess.run((*apt, "update"), check=True, timeout=INSTALL_S, stdout=2)
        subprocess.run((*apt, "install", "--no-install-recommends", *packages), check=True, timeout=INSTALL_S, stdout=2)
    except (OSError, subprocess.SubprocessError) as error:
        raise PackageError(f"system packages cannot be installed: {error}") from error
