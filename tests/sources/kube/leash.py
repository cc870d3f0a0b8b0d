"""Kills what it was told of when whoever told it is gone, however that came about: run as a script, it reads ``+ PID`` and ``- PID``.

A test run that is itself killed ends no child processes; the end of this script's input does.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    held: set[int] = set()
    for line in sys.stdin:
        sign, pid = line.split()
        (held.add if sign == "+" else held.discard)(int(pid))
    for pid in held:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
