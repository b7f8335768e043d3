"""What a device says to the bus and hears from it, as its own words; `bus_link.py` is the real one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from ..bus.config import DeviceConfig
from .selecting import Notice


@dataclass(frozen=True, slots=True)
class Told:
    """A selection or hint from a selector on another device."""

    task: str
    key: int
    time_ns: int
    kind: str
    span: int
    arrived_ns: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A configuration that could not be read."""

    why: str
    revision: int | None
    """Its revision, where that could be read."""


class Link(Protocol):
    """The bus, as one device sees it. Nothing here waits for the broker."""

    def heard(self) -> list[DeviceConfig | Told | Refused]:
        """Return what has come since the last call, in order."""

    def malformed(self) -> int:
        """Return the number of messages that could not be used, so far."""

    def losses(self) -> Mapping[str, int]:
        """Return what was lost or went wrong on the way out, so far, by names of counters.py."""

    def faults(self) -> list[str]:
        """Say what is wrong with the way out, now."""

    def last_report(self) -> tuple[int, int]:
        """Return sequence number and end (ns) of the last report that an agent of the device made; (-1, 0): none."""

    def report(self, header: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]) -> None:
        """Send the report of an epoch; it is kept until the broker has it, on disk where that takes it."""

    def notify(self, notice: Notice) -> None:
        """Send an explicit message."""

    def stats(self, values: Mapping[str, Any]) -> None:
        """Say how the device does; may be lost."""

    def status(self, values: Mapping[str, Any]) -> None:
        """Say whether the device's agent runs; retained."""
