"""Processes of tests that are paused."""

import os
import signal
import subprocess


def pause(process: "subprocess.Popen[bytes]") -> None:
    """Stop a child in its tracks. On return none of its threads runs any more; until then one could still answer."""
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
