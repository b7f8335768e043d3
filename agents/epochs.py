"""Epochs by the wall clock: which one a time lies in, and its ends."""

from __future__ import annotations

from dataclasses import dataclass

from ..bus.config import DeviceConfig

NEVER_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Epochs:
    """Epoch k is [start + k x length, start + (k + 1) x length), none beyond the end of the run."""

    start_ns: int
    length_ns: int
    end_ns: int = NEVER_NS

    @classmethod
    def of(cls, config: DeviceConfig) -> Epochs:
        """Return those of a configuration."""
        return cls(config.epoch_start_ns, config.epoch_ns, NEVER_NS if config.end_ns is None else config.end_ns)

    def number(self, time_ns: int) -> int:
        """Return the epoch of a time; 0 before the first."""
        return max((time_ns - self.start_ns) // self.length_ns, 0)

    def begin_ns(self, number: int) -> int:
        """Return when an epoch begins."""
        return self.start_ns + number * self.length_ns

    def over_ns(self, number: int) -> int:
        """Return when an epoch ends."""
        return min(self.begin_ns(number + 1), self.end_ns)
