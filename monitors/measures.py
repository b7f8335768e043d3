"""Measures: what a monitor keeps of a flow beside packets, bytes and times. One small contract a plug-in.

A measure has one row a slot of the table. The table says, for each crossing in order, which slot it went to (-1: it
was not recorded) and whether its flow is new there (start a new row), and which residents moved to another slot just
before (move their rows).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import distinct_kernels


class Measure:
    """What a plug-in implements; the defaults are those of a measure that keeps nothing of its own."""

    name = ""
    parameters: ClassVar[Mapping[str, Any]] = {}
    """Parameters of the task file: name -> `tasks.Field`."""
    counts: str | None = None
    """The key kind (traces/keys.py) whose distinct values are counted, or None."""
    wants_slots = False
    row_bytes = 0

    def allocate(self, slots: int) -> None:
        """Make the rows, one for each slot of the table."""

    def update(
        self,
        item: NDArray[np.uint64],
        kind: NDArray[np.uint8],
        slot: NDArray[np.int32],
        fresh: NDArray[np.bool_],
        moves: NDArray[np.int32],
    ) -> None:
        """Take crossings, in order; `moves` has rows (crossing, from slot, to slot)."""

    def columns(self, slots: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Return what the measure adds to the records of some slots."""
        return {}

    def clear(self) -> None:
        """Start a new epoch."""


class Volume(Measure):
    """Packets, bytes, first and last time: what every record has."""

    name = "volume"


class Distinct(Measure):
    """Number of distinct values among a flow's packets.

    Estimated by a HyperLogLog sketch of 64 registers an entry. The standard error is 1.04 / sqrt(64) = 13 %; below 160
    values linear counting takes over, which is exact for very few and about 6 % off at 64 (Flajolet et al. 2007).
    """

    wants_slots = True
    row_bytes = distinct_kernels.REGISTERS
    column = ""

    def allocate(self, slots: int) -> None:
        """Make an empty sketch for each slot."""
        self.registers = np.zeros((slots, distinct_kernels.REGISTERS), np.uint8)

    def update(
        self,
        item: NDArray[np.uint64],
        kind: NDArray[np.uint8],
        slot: NDArray[np.int32],
        fresh: NDArray[np.bool_],
        moves: NDArray[np.int32],
    ) -> None:
        """Count the items of packets; messages count nothing."""
        distinct_kernels.update(item, kind, slot, fresh, moves, self.registers)

    def columns(self, slots: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Return the estimated number of distinct values."""
        return {self.column: distinct_kernels.estimate(self.registers[slots])}

    def clear(self) -> None:
        """Empty all sketches."""
        self.registers[:] = 0


class DistinctDestinations(Distinct):
    """Number of distinct destination addresses, for flows keyed by their source."""

    name, counts, column = "distinct-destinations", "dst", "distinct_destinations"


class DistinctSources(Distinct):
    """Number of distinct source addresses, for flows keyed by their destination."""

    name, counts, column = "distinct-sources", "src", "distinct_sources"


MEASURES: dict[str, type[Measure]] = {m.name: m for m in (Volume, DistinctDestinations, DistinctSources)}
"""Every measure by the name that the task file uses."""
