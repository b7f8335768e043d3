"""Ends the processes of a run whose own process was killed: `python -m mozart.live.guard RUN LOG`, started by the run.

Its standard input is a pipe from the run. A run that ends in order says so through it. The pipe's end without a word
means that the run's process is gone: all processes that bear the run's mark (record.py) are ended then, agents, broker,
controller, hosts and senders. What else there is of the run is left for `mozart clean`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import LiveError
from .record import marked
from .things import end_processes

FAREWELL = b"."
ENDS_S = 5.0


class Guard:
    """The guard of one run; a context manager of the run's own process."""

    def __init__(self, run: str, log: Path) -> None:
        """Start it; where it has to do something, it says so in `log`."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, run, str(log)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # somebody has ended it
            self._process.stdin.write(FAREWELL)
            self._process.stdin.close()
        try:
            self._process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main(arguments: Sequence[str]) -> int:
    """Wait for the run's end; where it was killed, end its processes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # who ends the run ends this by the pipe
    run, log = arguments[0], Path(arguments[1])
    if os.read(0, 1) == FAREWELL:
        return 0
    found = list(marked(run))
    said = [f"the process of run {run} is gone; ending {', '.join(each['name'] for each in found) or 'nothing'}"]
    try:
        end_processes(found)
    except LiveError as error:
        said.append(str(error))
    with contextlib.suppress(OSError):  # the disk may be full, or the folder gone
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("\n".join(said) + "\n")
    return len(said) - 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
