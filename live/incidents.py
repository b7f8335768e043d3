"""What happens to a live run: its own faults and those that its controller tells, said to the user while they happen.

All of them stand in one book (controller/faults.py), whose last pages are published, retained, as the run's status.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..controller.faults import Fault, FaultBook
from ..errors import MozartError

TOLD = 50
"""So many of the last faults are published."""

Say = Callable[[str], None]
Publish = Callable[[Mapping[str, Any]], object]


class Incidents:
    """The faults of one run."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.state = "starting"
        self.book = FaultBook()
        self.publish: Publish | None = None
        """Takes the run's status, once there is a bus."""
        self._numbers: dict[tuple[int, int], int] = {}
        self._seen: dict[int, int] = {}
        """How many faults each controller has said that there are."""
        self.untold = 0
        """Faults that came too quickly for the controller's status to tell them one by one."""

    def enter(self, state: str) -> None:
        """Say what the run is doing now."""
        self.state = state
        self._tell()

    def note(self, kind: str, device: str, text: str, repaired: bool = False) -> None:
        """Write down something that went wrong, and whether that is put right."""
        now_ns = time.time_ns()
        self.book.add(Fault(now_ns, kind, device, text, now_ns if repaired else None))
        self.say(text)
        self._tell()

    def stand(self, key: tuple[str, ...], kind: str, device: str, text: str) -> bool:
        """Write down a fault that lasts until `over`; returns whether it is new."""
        new = self.book.stand(key, Fault(time.time_ns(), kind, device, text))
        if new:
            self.say(text)
            self._tell()
        return new

    def over(self, key: tuple[str, ...], more: str = "") -> None:
        """Write down that a lasting fault is over."""
        if (ended := self.book.end(key, time.time_ns(), more)) is not None:
            self.say(f"over: {ended.text}")
            self._tell()

    def take(self, status: Mapping[str, Any]) -> None:
        """Take over what the controller's status tells."""
        told, source = status.get("faults", ()), int(status.get("since_ns", 0))
        changed = self.book.take(self._numbers, source, told)
        for fault in changed:
            self.say(f"over: {fault.text}" if fault.repaired else fault.text)
        seen, before = int(status.get("errors", 0)), self._seen.get(source, 0)
        if seen > before:
            first = min((int(each["number"]) for each in told), default=seen)
            self.untold += max(first - before, 0)
            self._seen[source] = seen
        if changed:
            self._tell()

    def _tell(self) -> None:
        if self.publish is None:
            return
        with contextlib.suppress(MozartError):  # a broker that is away hears of it with the next one
            self.publish({"state": self.state, "errors": self.book.seen, "faults": self.book.last(TOLD)})
