"""Selections: which flows are selected by now, at which device, and which packets therefore leave with a tag.

1. Where the event is true for a flow at a device that has not selected it, the flow is selected there, at the time of
   that packet: a *selection* (key, device, time). That packet is the last that can leave untagged.
2. A selection lasts `hold_s` after the event was last true; a later event makes a new selection.
3. A packet of a selected flow leaves the device tagged if it comes after that packet and, with a detection delay,
   not before the selection's time plus the delay.
4. A packet whose reverse flow is selected at the device leaves it with a reverse tag, by the same rule.
5. Where asked for, what has ended is forgotten: a live device runs for months. Tags and selections stay the same, but
   for `past`, for which a replay keeps every flow ever selected.

Several delays are kept side by side: bit d of a mask is set where rule 3 holds with the delay number d.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from . import selection_kernels as sk

MAX_DELAYS = 8
FIRST_ENTRIES = 1 << 10
NEVER = -(1 << 62)
"""In place of a time: earlier than any."""


@dataclass(frozen=True, slots=True)
class Tags:
    """What the selections mean for each sighting, as masks over the delays."""

    forward: NDArray[np.uint8]
    """The packet leaves the selector's device tagged."""
    reverse: NDArray[np.uint8]
    """The packet leaves the device with a tag for the reverse flow."""
    after: NDArray[np.uint8]
    """The packet's flow is selected by now at some device, whether or not this packet crosses it."""
    past: NDArray[np.uint8]
    """The same of the flow's first selection that is not forgotten, and it stays so: the packet is not from before the
    event."""


@dataclass(frozen=True, slots=True)
class Selection:
    """That a flow was selected, where and when."""

    flow: int
    """Its number; where selections are forgotten, until more packets are taken."""
    where: int
    time_ns: int
    row: int
    """Index of the completing packet in the sightings."""
    entry: int = -1
    """Number of the (flow, device) pair; where selections are forgotten, until more packets are taken."""
    before_ns: int = NEVER
    """When the event was last true in the earlier selection of the flow at the device, if there was one."""


class NewSelections(Sequence[Selection]):
    """The selections that one call made, in order: a sequence of `Selection`, and its fields as columns."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        """Take an array of shape (selections, fields of `Selection`)."""
        self.flow, self.where, self.time_ns, self.row, self.entry, self.before_ns = rows.T
        self.rows = rows

    @classmethod
    def of(cls, selections: Sequence[Selection]) -> NewSelections:
        """Return selections as columns; those that are already, as they are."""
        if isinstance(selections, cls):
            return selections
        return cls(np.array([astuple(s) for s in selections], np.int64).reshape(-1, len(fields(Selection))))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, which: int) -> Selection: ...
    @overload
    def __getitem__(self, which: slice) -> NewSelections: ...
    def __getitem__(self, which: int | slice) -> Selection | NewSelections:
        """Take one, or some."""
        if isinstance(which, slice):
            return NewSelections(self.rows[which])
        return Selection(*(int(value) for value in self.rows[which]))

    def __iter__(self) -> Iterator[Selection]:
        return (Selection(*row) for row in self.rows.tolist())


class Selections:
    """The flows that the selectors of one task have selected."""

    def __init__(self, hold_s: float, delays_ms: tuple[float, ...], forgets: bool = False) -> None:
        """Start with none; `delays_ms` are the detection delays that are kept side by side, eight at most.

        With `forgets` memory is in proportion to the selections that last at one time, not to all there ever were.
        """
        if not 1 <= len(delays_ms) <= MAX_DELAYS:
            raise ValueError(f"between 1 and {MAX_DELAYS} detection delays can be kept, not {len(delays_ms)}")
        self.hold_ns = round(hold_s * 1e9)
        self.forgets = forgets
        self.delays_ns = np.array([round(d * 1e6) for d in delays_ms], np.int64)
        self.marks = np.zeros(2 * FIRST_ENTRIES, np.uint8)
        """Sixteen bits an entry: that of a flow is set where it was selected, or one that shares the bit was."""
        self.fp = np.zeros(4 * FIRST_ENTRIES, np.uint64)
        self.entry = np.zeros(4 * FIRST_ENTRIES, np.int32)
        # by entry: a (flow, device) pair, and one with device -1 for the flow anywhere
        self.flow = np.zeros(FIRST_ENTRIES, np.int32)
        self.where = np.zeros(FIRST_ENTRIES, np.int32)
        self.first_ns = np.zeros(FIRST_ENTRIES, np.int64)
        self.since_ns = np.zeros(FIRST_ENTRIES, np.int64)
        self.last_true_ns = np.zeros(FIRST_ENTRIES, np.int64)
        self.entries = 0
        self.flows = np.zeros(FIRST_ENTRIES, np.uint64)
        """Key of each selected flow, by its number."""
        self.flow_count = 0

    def keys(self) -> NDArray[np.uint64]:
        """Return the keys of all flows that were selected so far and not forgotten, by number."""
        return self.flows[: self.flow_count]

    def select(
        self,
        key: NDArray[np.uint64],
        where: NDArray[np.int32],
        reverse_key: NDArray[np.uint64],
        reverse_where: NDArray[np.int32],
        true: NDArray[np.bool_],
        time_ns: NDArray[np.int64],
    ) -> tuple[Tags, NewSelections]:
        """Take sightings in order: tag them by what is selected so far, and select where the event is true.

        `reverse_where` is the device that selects for the reverse flow, where this packet crosses it, else -1.
        """
        n = len(key)
        if self.forgets and n and 2 * self.entries > len(self.flow):
            self._forget(int(time_ns[0]))
        tags = Tags(*np.zeros((4, n), np.uint8))
        made = np.zeros((int(np.count_nonzero(true)), len(fields(Selection))), np.int64)
        taken = selected = 0
        while taken < n:
            taken, self.entries, self.flow_count, selected = sk.select(
                taken, key, where, reverse_key, reverse_where, true, time_ns, self.hold_ns, self.delays_ns,
                self.marks, self.fp, self.entry,
                self.flow, self.where, self.first_ns, self.since_ns, self.last_true_ns, self.entries,
                self.flows, self.flow_count,
                tags.forward, tags.reverse, tags.after, tags.past, made, selected,
            )  # fmt: skip
            if taken < n:
                self._grow()
        return tags, NewSelections(made[:selected])

    def until_ns(self, entry: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return when the last selection of each entry ends, as things stand."""
        found: NDArray[np.int64] = self.last_true_ns[entry] + self.hold_ns
        return found

    def active_flows(self, start_ns: int, end_ns: int) -> NDArray[np.int32]:
        """Return the numbers of the flows that are selected at some time in [start, end), forgotten ones left out."""
        n = self.entries
        on = (self.since_ns[:n] < end_ns) & (self.last_true_ns[:n] + self.hold_ns >= start_ns)
        return np.unique(self.flow[:n][on])

    def in_force(self, now_ns: int) -> NDArray[np.int64]:
        """Return (flow, device, since when) of every selection that lasts at a time, shape (selections, 3).

        The time must not lie before that of what was taken.
        """
        n = self.entries
        on = (self.where[:n] != sk.ANYWHERE) & (self.last_true_ns[:n] + self.hold_ns >= now_ns)
        return np.stack([self.flow[:n][on], self.where[:n][on], self.since_ns[:n][on]], axis=1).astype(np.int64)

    def _forget(self, now_ns: int) -> None:
        """Drop what had ended before a time (rule 5); there is room for four times what is left."""
        n = self.entries
        kept = np.flatnonzero(self.last_true_ns[:n] + self.hold_ns >= now_ns)
        flows = self.flow[kept[self.where[kept] == sk.ANYWHERE]]  # a flow lasts as long as it does at any device
        number = np.zeros(self.flow_count, np.int32)
        number[flows] = np.arange(len(flows))
        size = max(1 << max(4 * len(kept) - 1, 0).bit_length(), FIRST_ENTRIES)
        self.flows = _resized(self.flows[flows], size)
        self.flow = _resized(number[self.flow[kept]], size)
        for name in ("where", "first_ns", "since_ns", "last_true_ns"):
            setattr(self, name, _resized(getattr(self, name)[kept], size))
        self.entries, self.flow_count = len(kept), len(flows)
        self._index()

    def _grow(self) -> None:
        """Make room for twice as many entries."""
        size = 2 * len(self.flow)
        for name in ("flow", "where", "flows", "first_ns", "since_ns", "last_true_ns"):
            setattr(self, name, _resized(getattr(self, name), size))
        self._index()

    def _index(self) -> None:
        """Make the table by which entries are found, at most a quarter full, and the marks anew."""
        size = len(self.flow)
        self.fp, self.entry = np.zeros(4 * size, np.uint64), np.zeros(4 * size, np.int32)
        self.marks = np.zeros(2 * size, np.uint8)
        sk.rehash(self.flow, self.where, self.entries, self.flows, self.fp, self.entry, self.marks)


def _resized(column: NDArray[Any], size: int) -> NDArray[Any]:
    """Return a column with room for so many rows."""
    made = np.zeros(size, column.dtype)
    made[: len(column)] = column
    return made
