"""Prints the markers of tests that this machine cannot run whatever is installed, and says why on standard error.

Imitating pods (``mounts``) and building and entering images (``image``) takes rights that a script cannot give itself. All other tests have
to run. Builds the image where it can.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

IMAGE: Final = Path(__file__).resolve().parents[1] / "image" / "build.py"
CANNOT: Final = 75
TRY_S: Final = 60.0
BUILD_S: Final = 3600.0
# What imitating a pod takes: files over those of the system that nobody else sees.
MOUNT: Final = (
    "mount -t tmpfs tmpfs /tmp && mkdir /tmp/upper /tmp/work"
    " && mount -t overlay -o lowerdir=/etc,upperdir=/tmp/upper,workdir=/tmp/work overlay /etc"
)


def can_mount(*user: str) -> bool:
    """Return whether there are mount namespaces; ``user`` are options for whoever is not root."""
    command = ("unshare", *user, "--mount", "--propagation", "private", "sh", "-c", MOUNT)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TRY_S)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"no mount namespaces: {error}", file=sys.stderr)
        return False
    if done.returncode:
        print(f"no mount namespaces: {done.stderr.strip()}", file=sys.stderr)
    return done.returncode == 0


def main() -> int:
    """Return the exit status: that of a build that failed although it could have been done, else 0."""
    root = os.geteuid() == 0
    missing = [] if can_mount(*(() if root else ("--user", "--map-root-user"))) else ["mounts"]
    if missing or not root:
        missing.append("image")
    else:
        built = subprocess.run((sys.executable, str(IMAGE)), stdout=subprocess.DEVNULL, check=False, timeout=BUILD_S).returncode
        if built == CANNOT:
            missing.append("image")
        elif built:
            return built
    print(*missing)
    return 0


if __name__ == "__main__":
    sys.exit(main())
