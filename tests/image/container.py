"""Runs what is in the image as a cluster would: a read-only file system, a user that is not root, of this machine only what is lent.

No engine is needed: a mount namespace and a root of its own are all of a container that these tests are about. It takes root.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import attrs

USER: Final = 65532
# Seconds for a command that ends by itself.
RUN_S: Final = 60.0
# Of the environment in which a container is started, these are the machine's, and not meant for the container.
INHERITED: Final = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")

# $1: root; then volumes up to --, each as two folders; then the command. Signals reach it, since each program becomes the next one.
ENTER: Final = """
set -e
root=$1; shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o size=64k,mode=755 tmpfs "$root/dev"
for device in null zero random urandom; do touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
mount -o remount,ro "$root/dev"
while [ "$1" != -- ]; do mount --bind "$1" "$root$2"; mount -o remount,bind,ro "$root$2"; shift 2; done
shift
mount -o remount,bind,ro "$root"
cd /
exec "$@"
"""


Volume = Path | tuple[Path, Path]


@attrs.frozen
class Image:
    """An image that is built: its files in ``root``, which is a copy that tests may put mount points into."""

    root: Path
    pristine: Path
    config: dict[str, Any]

    @classmethod
    def copied(cls, told: dict[str, Any], folder: Path) -> "Image":
        """Return the image that ``image/build.py`` has described as ``told``, with a copy of its files in ``folder``."""
        root = folder / "root"
        shutil.copytree(told["root"], root, symlinks=True)
        for name in ("proc", "dev"):
            (root / name).mkdir()
        return cls(root, Path(told["root"]), told["config"])

    def command(self, *arguments: str, user: str = f"{USER}:{USER}", volumes: tuple[Volume, ...] = ()) -> tuple[str, ...]:
        """Return the command that starts a container: ``arguments`` take the place of the image's CMD, as ``args`` do in a cluster.

        ``volumes`` are folders that it sees, read-only; each where it is on this machine, or beside the place that it has inside.
        """
        pairs = [volume if isinstance(volume, tuple) else (volume, volume) for volume in volumes]
        for _, inside_path in pairs:
            (self.root / inside_path.relative_to("/")).mkdir(parents=True, exist_ok=True)
        unset = [argument for name in INHERITED for argument in ("-u", name)]
        # The environment comes first: the last program looks for the entry point by the image's PATH, inside of the image's root.
        inside = ("env", *unset, *self.config["Env"], program("setpriv"), "--no-new-privs", program("chroot"))
        entry = (*self.config["Entrypoint"], *(arguments or self.config["Cmd"]))
        lent = [str(path) for pair in pairs for path in pair]
        enter = ("unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, "sh", str(self.root), *lent, "--")
        return (*enter, *inside, f"--userspec={user}", "--groups=", str(self.root), *entry)

    def run(self, *arguments: str, user: str = f"{USER}:{USER}", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command that ends by itself."""
        environment = {"PATH": os.environ["PATH"], **variables}
        command = self.command(*arguments, user=user)
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=RUN_S)


def program(name: str) -> str:
    """Return the path of a program of this machine, some of which only root has on the PATH."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    assert found is not None, name
    return found
