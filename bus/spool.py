"""The spool: messages on disk until nobody needs them any more, in order.

One file a message, numbered; it is complete under its name or not there at all, also after a crash. A folder belongs to
one process at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import BusError

SUFFIX = ".message"


class Spool:
    """A folder of messages that wait. Several threads may use it, if no two of them write messages at a time."""

    def __init__(self, folder: str | Path) -> None:
        """Open a folder, made where it is missing; what an earlier process left in it still waits.

        Raises BusError where another process has it.
        """
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # reports have flow keys (traces/keys.py)
        self._descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise BusError(f"{folder}: another process has this spool; does this device's agent run twice?") from None
        for draft in self.folder.glob(".*.draft"):
            draft.unlink()  # never became a message
        self._next = max(self.numbers(), default=-1) + 1

    @property
    def next_number(self) -> int:
        """The number that the next message will have."""
        return self._next

    def put(self, topic: str, payload: bytes) -> int:
        """Write a message down and return its number; it is on disk when this returns.

        Raises OSError where the disk does not take it; nothing of it is there then.
        """
        number = self._next
        draft = self.folder / f".{number}.draft"
        try:
            with draft.open("wb") as file:
                file.write(topic.encode() + b"\n" + payload)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path(number))
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        self._next += 1
        os.fsync(self._descriptor)
        return number

    def get(self, number: int) -> tuple[str, bytes]:
        """Return topic and payload of a message that waits; raises BusError where its file is not one."""
        topic, newline, payload = self._path(number).read_bytes().partition(b"\n")
        if not newline or not topic or not topic.isascii():
            raise BusError(f"{self._path(number)}: not a message; a spool holds files of its own making only")
        return topic.decode(), payload

    def done(self, number: int) -> None:
        """Forget a message."""
        self._path(number).unlink(missing_ok=True)

    def numbers(self) -> list[int]:
        """Return the numbers of the messages that wait, in order."""
        return sorted(int(path.stem) for path in self.folder.glob(f"*{SUFFIX}") if path.stem.isdecimal())

    def close(self) -> None:
        """Let another process have the folder; what waits in it stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __iter__(self) -> Iterator[tuple[int, str, bytes]]:
        for number in self.numbers():
            yield (number, *self.get(number))

    def __len__(self) -> int:
        return len(self.numbers())

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:012d}{SUFFIX}"
