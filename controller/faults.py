"""Faults of a run: what happened, to what, from when to when, and whether it is as it should be again. Pure.

The controller keeps a book of what it sees at the switches and publishes its last pages with its status; the run takes
them over into its own book, beside what it sees itself. `run.json` has all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

KINDS = {
    "rules-lost": "flow entries or groups of ours were deleted or changed by another program",
    "foreign-rule": "a flow entry of another program stands in the way of ours; it is left alone",
    "rules-refused": "a switch refused a message of ours, or does not have what it should have",
    "switch-away": "the connection between a switch and the controller ended",
    "switch-missing": "switches had not connected when they should have",
    "switch-silent": "a switch does not answer",
    "bridge-deleted": "another program deleted a bridge",
    "open-vswitch": "ovs-vswitchd ended",
    "link-down": "a link lost its carrier or one of its ports",
    "message-lost": "the controller had no room for a message on the bus",
    "controller-failed": "something failed in the controller, which goes on",
    "no-plan": "no plan can be made for the links that are up",
    "moved": "a module was placed elsewhere, because links went down or came up",
    "part-ended": "a process of the run ended",
    "disk-full": "the disk of the run folder has no room",
    "no-report": "the last report of a device did not come",
    "overload": "more was offered than this machine can carry",
    "gave-up": "the run could not go on",
    "stopped": "the user stopped the run early",
    "left-behind": "something that the run made could not be removed",
}
"""Each kind of fault, and what it says."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault."""

    time_ns: int
    """When it began, or was first seen (since 1970)."""
    kind: str
    """One of `KINDS`."""
    device: str
    """A switch, host, link ('s1-s2'), process or path."""
    text: str
    until_ns: int | None = None
    """When all was as it should be again; None: not yet, or not ever."""
    packets_lost: int | None = None
    """Packets sent while it lasted that did not arrive; None where that is not counted."""

    @property
    def repaired(self) -> bool:
        """Whether all is as it should be again."""
        return self.until_ns is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the fault as JSON has it."""
        return {**dataclasses.asdict(self), "repaired": self.repaired}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Fault:
        """Read what `to_dict` made."""
        until_ns = given.get("until_ns")
        return cls(
            int(given["time_ns"]), str(given["kind"]), str(given["device"]), str(given["text"]),
            None if until_ns is None else int(until_ns), given.get("packets_lost"),
        )  # fmt: skip


class FaultBook:
    """Faults in the order in which they were seen; the number of each is its place.

    The first `most` are kept; later ones are only counted, in `more`.
    """

    def __init__(self, most: int = 1000) -> None:
        self.faults: list[Fault] = []
        self.most, self.more = most, 0
        self._standing: dict[tuple[str, ...], int] = {}
        """What is wrong now, by what the caller knows it by."""

    @property
    def seen(self) -> int:
        """Return the number of faults so far."""
        return len(self.faults) + self.more

    def add(self, fault: Fault) -> int:
        """Write down a fault; returns its number, -1 where the book is full."""
        if fault.kind not in KINDS:
            raise ValueError(f"{fault.kind!r} is no kind of fault; there are {', '.join(KINDS)}")
        if len(self.faults) >= self.most:
            self.more += 1
            return -1
        self.faults.append(fault)
        return len(self.faults) - 1

    def stand(self, key: tuple[str, ...], fault: Fault) -> bool:
        """Write down a fault that lasts, unless one with this key and text lasts already; returns whether it is new."""
        number = self._standing.get(key)
        if number is not None and (number < 0 or self.faults[number].text == fault.text):
            return False
        if number is not None:
            self.end(key, fault.time_ns)
        self._standing[key] = self.add(fault)
        return True

    def end(self, key: tuple[str, ...], now_ns: int, more: str = "") -> Fault | None:
        """Say that a lasting fault is over, with what to add to its text; returns it, None where there is none."""
        number = self._standing.pop(key, None)
        if number is None or number < 0:
            return None
        before = self.faults[number]
        ended = dataclasses.replace(before, until_ns=now_ns, text=f"{before.text}; {more}" if more else before.text)
        self.faults[number] = ended
        return ended

    def lasting(self, *begin: str) -> list[tuple[str, ...]]:
        """Return the keys of lasting faults that begin so."""
        return [key for key in self._standing if key[: len(begin)] == begin]

    def last(self, number: int) -> list[dict[str, Any]]:
        """Return the last faults, as JSON has them, with their numbers."""
        begin = max(len(self.faults) - number, 0)
        return [{"number": begin + i, **each.to_dict()} for i, each in enumerate(self.faults[begin:])]

    def take(self, numbers: dict[tuple[int, int], int], source: int, told: Iterable[Mapping[str, Any]]) -> list[Fault]:
        """Take over faults that another book told (`last`); returns those that are new or have changed.

        `numbers` says under which number here each (source, number there) stands, and is brought up to date.
        """
        changed = []
        for given in told:
            key, fault = (source, int(given["number"])), Fault.from_dict(given)
            number = numbers.get(key)
            if number is None:
                numbers[key] = self.add(fault)
            elif number >= 0 and self.faults[number] != fault:
                self.faults[number] = fault
            else:
                continue
            changed.append(fault)
        return changed
