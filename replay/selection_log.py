"""The selections of a task as columns: who was selected, where, when, for what, and how long the selection lasts.

A flow is known to tables by its key alone; who it is stands in the packet that completed the event, and is remembered
here. Memory is in proportion to the selections that last at one time, and four bytes for each flow ever selected.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..selectors.selection import NewSelections, Selections
from ..traces.packets import PacketBatch

NO_EPOCH = -1
"""Until the first epoch after the selection has ended."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Selections of one task as columns of equal length, in the order in which they were made."""

    flow: NDArray[np.int64]
    """Number of the flow."""
    where: NDArray[np.int64]
    """Number of the device that selected it."""
    number: NDArray[np.int32]
    """Of the selection among those of its flow, from 1 on."""
    time_ns: NDArray[np.int64]
    until_ns: NDArray[np.int64]
    """When the selection ends, as things stand."""
    value: NDArray[np.float64]
    """What the selector measured when the event became true."""
    watched: NDArray[np.bool_]
    """Whether a monitor of the task is on the flow's path."""
    epoch: NDArray[np.int64]
    """The epoch in which it was made."""
    src: NDArray[np.uint64]
    dst: NDArray[np.uint64]
    src_port: NDArray[np.uint16]
    dst_port: NDArray[np.uint16]
    protocol: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.flow)

    def __getitem__(self, which: Any) -> Chosen:
        """Take the selections of a mask, a slice or some numbers."""
        return Chosen(*(getattr(self, f.name)[which] for f in fields(self)))

    @classmethod
    def of(cls, packets: PacketBatch, **columns: NDArray[Any]) -> Self:
        """Make the columns of selections whose completing packets are given; the rest by name."""
        return cls(
            **columns, src=packets.src, dst=packets.dst,
            src_port=packets.src_port, dst_port=packets.dst_port, protocol=packets.protocol,
        )  # fmt: skip

    @classmethod
    def none(cls) -> Self:
        """Return no selections."""
        numbers: dict[str, NDArray[Any]] = {
            name: np.zeros(0, np.int64) for name in ("flow", "where", "time_ns", "until_ns", "epoch")
        }
        numbers |= {"number": np.zeros(0, np.int32), "value": np.zeros(0), "watched": np.zeros(0, np.bool_)}
        return cls.of(PacketBatch.empty(0), **numbers)


def joined(parts: list[Chosen]) -> Chosen:
    """Return selections one behind the other."""
    return Chosen(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Chosen)))


class SelectionLog:
    """The selections of one task of a replay that may still last, or have no row yet."""

    def __init__(self, selections: Selections) -> None:
        self._selections = selections
        self._parts: list[Chosen] = []
        self._entry: list[NDArray[np.int64]] = []
        self._before_ns: list[NDArray[np.int64]] = []
        self._crossed: list[NDArray[np.bool_]] = []
        self._count = np.zeros(0, np.int32)
        """Selections so far, by the number of the flow."""
        self._dropped()

    def _dropped(self) -> None:
        """Start with no open selection."""
        self._keep(Chosen.none(), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))

    def _keep(
        self,
        chosen: Chosen,
        entry: NDArray[np.int64],
        before_ns: NDArray[np.int64],
        crossed: NDArray[np.bool_],
    ) -> None:
        self._parts, self._entry, self._before_ns, self._crossed = [chosen], [entry], [before_ns], [crossed]

    def add(
        self,
        made: NewSelections,
        packets: PacketBatch,
        value: NDArray[np.float64],
        watched: NDArray[np.bool_],
    ) -> None:
        """Take new selections with their completing packets, values, and whether their paths have a monitor."""
        self._parts.append(
            Chosen.of(
                packets,
                flow=made.flow.copy(),
                where=made.where.copy(),
                number=self._numbers(made.flow),
                time_ns=made.time_ns.copy(),
                until_ns=made.time_ns + self._selections.hold_ns,
                value=value,
                watched=watched,
                epoch=np.full(len(made), NO_EPOCH, np.int64),
            )
        )
        self._entry.append(made.entry.copy())
        self._before_ns.append(made.before_ns.copy())
        self._crossed.append(np.zeros(len(made), np.bool_))

    def _numbers(self, flow: NDArray[np.int64]) -> NDArray[np.int32]:
        """Count the selections of each flow on; returns the number of each."""
        if self._selections.flow_count > len(self._count):
            grown = np.zeros(2 * self._selections.flow_count, np.int32)
            grown[: len(self._count)] = self._count
            self._count = grown
        order = np.argsort(flow, kind="stable")
        ranked = flow[order]
        first = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        each = np.diff(np.append(first, len(flow)))
        rank = np.empty(len(flow), np.int32)
        rank[order] = np.arange(len(flow)) - np.repeat(first, each)
        numbers: NDArray[np.int32] = self._count[flow] + rank + np.int32(1)
        self._count[ranked[first]] += each.astype(np.int32)
        return numbers

    def end_epoch(self, number: int, start_ns: int, end_ns: int, crossing: NDArray[np.int64]) -> tuple[Chosen, Chosen]:
        """Return the selections that lasted in an epoch, and those that end with it and never crossed a monitor.

        `crossing` are the numbers of the flows of which a packet crossed a monitor in the epoch.
        """
        chosen, entry = joined(self._parts), np.concatenate(self._entry)
        before_ns, crossed = np.concatenate(self._before_ns), np.concatenate(self._crossed)
        # one from before the epoch was made while no epoch was open, for want of packets
        made_in = np.maximum(number + (chosen.time_ns - start_ns) // (end_ns - start_ns), 0)
        epoch = np.where(chosen.epoch == NO_EPOCH, made_in, chosen.epoch)
        chosen = replace(chosen, until_ns=self._until_ns(chosen, entry, before_ns), epoch=epoch)
        lasting = chosen.until_ns >= start_ns
        crossed |= lasting & np.isin(chosen.flow, crossing)
        on = chosen.until_ns >= end_ns
        self._keep(chosen[on], entry[on], before_ns[on], crossed[on])
        return chosen[lasting], chosen[~on & ~crossed]

    def end(self) -> Chosen:
        """Return what is left at the end of the trace: selections that still last and never crossed a monitor."""
        chosen, crossed = joined(self._parts), np.concatenate(self._crossed)
        self._dropped()
        return chosen[~crossed]

    def _until_ns(self, chosen: Chosen, entry: NDArray[np.int64], before_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return when each selection ends: the last of an entry as it stands, an earlier one as the next one says."""
        until_ns = self._selections.until_ns(entry)
        order = np.argsort(entry, kind="stable")
        again = np.flatnonzero(entry[order][1:] == entry[order][:-1])
        until_ns[order[again]] = before_ns[order[again + 1]] + self._selections.hold_ns
        return until_ns
