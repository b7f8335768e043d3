"""The processes of a live run: started with a log, written down, and ended by id, never by name."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..agents.priority import go_first
from ..errors import LiveError

END_S = 10.0
"""How long a process may take to end when asked, before it is killed."""
TAIL_LINES = 5

Recorder = Callable[..., object]
"""record(kind, name, **more): writes down what is about to be, or was just made (record.py)."""


class Process:
    """One process with its log; its environment is this process's, with what `environment` adds."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        record: Recorder,
        environment: Mapping[str, str] | None = None,
        first: bool = False,
        folder: Path | None = None,
        user: int | None = None,
    ) -> None:
        """Start it in a folder; with `first`, it goes before other work, as agents do (agents/priority.py).

        With `user`, as that user and group, and in no other group.
        """
        self.name, self.arguments, self.log = name, list(arguments), log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            self.popen = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                cwd=folder,
                user=user,
                group=user,
                extra_groups=None if user is None else (),
                start_new_session=True,  # Ctrl-C is for the run, which ends its processes in order
            )
        record("process", name, pid=self.popen.pid)
        if first:
            go_first(self.popen.pid)

    @property
    def pid(self) -> int:
        """Process id."""
        return self.popen.pid

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.popen.poll() is None

    def check(self) -> None:
        """Raise LiveError, with the end of its log, where it has ended."""
        if not self.running():
            raise LiveError(f"{self.name} ended with status {self.popen.returncode}; its log ends:\n{self.tail()}")

    def tail(self) -> str:
        """Return the last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"    {line}" for line in lines[-TAIL_LINES:]) or "    (nothing)"

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, kill it where it does not in time; return its exit status."""
        if self.running():
            self.popen.send_signal(number)
            try:
                self.popen.wait(END_S)
            except subprocess.TimeoutExpired:
                return self.kill()
        return self.popen.wait(END_S)

    def kill(self) -> int:
        """End it at once, as a crash would; return its exit status. Raises LiveError where it stays all the same."""
        self.popen.kill()
        try:
            return self.popen.wait(END_S)
        except subprocess.TimeoutExpired:
            raise LiveError(f"{self.name} (process {self.pid}) does not end, although it was killed") from None
