"""The spool: messages on disk until the broker has acknowledged them, in order.

One file a message, numbered; it is complete under its name or not there at all, also after a crash.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

SUFFIX = ".message"


class Spool:
    """A folder of messages that wait."""

    def __init__(self, folder: str | Path) -> None:
        """Open a folder, made where it is missing; what an earlier process left in it still waits."""
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        for draft in self.folder.glob(".*.draft"):
            draft.unlink()  # never became a message
        self._next = max(self.numbers(), default=-1) + 1

    def put(self, topic: str, payload: bytes) -> int:
        """Write a message down and return its number; it is on disk when this returns."""
        number = self._next
        self._next += 1
        draft = self.folder / f".{number}.draft"
        with draft.open("wb") as file:
            file.write(topic.encode() + b"\n" + payload)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path(number))
        self._sync()
        return number

    def get(self, number: int) -> tuple[str, bytes]:
        """Return topic and payload of a message that waits."""
        topic, _, payload = self._path(number).read_bytes().partition(b"\n")
        return topic.decode(), payload

    def done(self, number: int) -> None:
        """Forget a message, which has been acknowledged."""
        self._path(number).unlink(missing_ok=True)

    def numbers(self) -> list[int]:
        """Return the numbers of the messages that wait, in order."""
        return sorted(int(path.stem) for path in self.folder.glob(f"*{SUFFIX}") if path.stem.isdigit())

    def __iter__(self) -> Iterator[tuple[int, str, bytes]]:
        for number in self.numbers():
            yield (number, *self.get(number))

    def __len__(self) -> int:
        return len(self.numbers())

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:012d}{SUFFIX}"

    def _sync(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
