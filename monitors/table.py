"""The monitor's hash table: two-mode sample-and-hold where selected flows come first.

Selected and non-selected flows share one table (MOZART, SOSR 2016, slides 18 to 20). A flow has two buckets of
eight slots, found from its key; it is inserted in the emptier one. Per crossing packet:

(a) the flow has an entry: update it, and set its selected bit if the packet is tagged;
(b) no entry, tagged: insert; where the flow's slots are full evict the non-selected entry of the lowest rank; where
    all are selected, move residents to their other buckets until one finds room; where that is impossible too count
    `selected_collisions`: of the selected flows within two moves and the new one the lowest in rank goes;
(c) no entry, not tagged: with the sampling probability insert into a free slot, never at a selected entry's expense
    (in the mode `recent` always, and over the non-selected entry of the lowest rank where no slot is free);
(d) in the mode `mozart` a flow that (b) evicts, or that (c) finds no free slot for, goes on being counted as a *ghost*:
    in words that a selected flow's slot does not need (`ghost_kernels.py`). When its own tag comes, it has its past.

A reverse tag or an explicit message acts as (a) or (b) without a packet. One number a slot, its rank, says who goes
first: 0 is free, and all selected entries stand above all others. The rank of the others is their size in bytes.

A selected flow is of use only where all monitors on its way have it. So the rank of selected flows is the same at all
monitors: those of a smaller span stand above those of a larger one (they cost less memory where it is short), and
within that a hash of the key decides. The highest rank that had to go is a bar for flows that come later, as in
adaptive sampling (Wegman; Flajolet 1990). So each table keeps the highest ranks of all that it was told of, and
monitors that are overfull keep the same flows, without a word between them. But a flow that had an entry before its
tag stands above all that had none: its bytes from before the event are nowhere else.

In the mode `recent` nearly all selected flows had one, so it earns none a higher rank. The rank of a flow that is not
selected is there, set whenever it sends, the table's clock + the square root of the bytes recorded; and the clock
follows the ranks of the entries that are evicted: clock += (rank evicted - clock) / 64. So the clock overtakes a flow
that has gone quiet, the sooner the smaller it was, and no time constant has to fit the traffic (GreedyDual, Young
1994, with the size for a cost; docs/recent.md says what else was tried, with figures). A flow that only a message
announced (HINT) stands above all that are not selected and below all that are: it makes way for a tagged flow, so
flows that still send lose nothing to those that have ended.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import layout_kernels as lk
from . import mark_kernels as mk
from . import table_kernels as tk
from .measures import Measure, Volume
from .modes import Mode
from .records import CAPTURES, Records, undercount

PRESERVED_NS = -2
"""In the slot's sampling time: the entry stands since before the epoch."""
BLOCKED = np.uint64(2**64 - 1)
ENTRY_BYTES = 8 + 64
"""Memory of an entry, and size of its record in a report: the key and eight counters, without the measure's own."""


@dataclass(frozen=True, slots=True)
class Crossings:
    """What crosses one monitor, in order: packets, and messages about flows. Columns of equal length."""

    key: NDArray[np.uint64]
    kind: NDArray[np.uint8]
    """PACKET, TAGGED, HINT or SELECT of `table_kernels`."""
    ip_bytes: NDArray[np.uint32]
    time_ns: NDArray[np.int64]
    luck: NDArray[np.uint32]
    """Uniform random numbers that the sampling compares with its probability."""
    span: NDArray[np.uint8]
    """How much of the monitors' memory the flow's path asks for, in classes of the controller's (0 is the least)."""
    item: NDArray[np.uint64]
    """What a distinct count counts, hashed; may be empty where the measure counts nothing."""

    def __len__(self) -> int:
        return len(self.key)


class Table:
    """One monitor's table in one mode, with a fixed number of entries."""

    def __init__(
        self,
        mode: Mode,
        entries: int,
        probability: float,
        measure: Measure | None = None,
        preserve_bytes: int | None = None,
        early_removal_bytes: int = 0,
    ) -> None:
        """Make an empty table of `entries` flows that samples untagged packets with `probability`."""
        if entries < 1:
            raise ValueError(f"a table needs at least one entry, not {entries}")
        if not 0 <= probability <= 1:
            raise ValueError(f"a probability lies between 0 and 1, not {probability}")
        self.mode = mode
        self.entries = entries
        self.probability = probability if mode.samples else 0.0
        self.preserve_bytes = preserve_bytes
        self.early_removal_bytes = early_removal_bytes
        buckets = -(-entries // tk.WAYS)
        slots = buckets * tk.WAYS
        self.measure = measure or Volume()
        self.measure.allocate(slots)
        self.fp = np.zeros(slots, np.uint64)
        self.rank = np.zeros(slots, np.uint64)
        self.stats = np.zeros((slots, 8), np.int64)
        self.counters = np.zeros(lk.COUNTERS, np.int64)
        # the mode `recent` admits so many flows that marks do not pay, nor do they where they do not fit the cache
        self.marks = np.zeros(0 if mode.recency or slots > tk.FAR else mk.words_for(slots), np.uint64)
        # the slots beyond `entries` are never free and never match
        extra = np.arange(slots - entries)
        self.blocked = (extra % buckets + 1) * tk.WAYS - 1 - extra // buckets
        self.rank[self.blocked] = BLOCKED

    def observe(self, crossings: Crossings) -> None:
        """Take crossings into the table, in order."""
        n = len(crossings) if self.measure.wants_slots else 0
        slot, fresh = np.full(n, -1, np.int32), np.empty(n, np.bool_)
        moves = np.empty((2 * n, 3), np.int32)
        tk.observe(
            crossings.key, crossings.kind, crossings.ip_bytes, crossings.time_ns, crossings.luck, crossings.span,
            self.fp, self.rank, self.stats.reshape(-1), self.counters, self.marks,
            np.uint64(self.probability * 2**32), self.mode.heeds_tags, self.mode.heeds_hints,
            self.mode.priority, self.mode.recency, slot, fresh, moves, self.entries,
        )  # fmt: skip
        if n:
            self.measure.update(crossings.item, crossings.kind, slot, fresh, moves[: self.counters[lk.LOGGED]])

    def occupied(self) -> NDArray[np.int64]:
        """Return the slots that hold a flow."""
        return np.flatnonzero(self.fp)

    def records(self, every: bool = False) -> Records:
        """Report: the selected flows; without coordination, or with `every`, all of them."""
        slots = self.occupied()
        if not (every or self.mode.reports_all):
            slots = slots[self.rank[slots] >= lk.ANNOUNCED]
        stats = self.stats[slots]
        selected = stats[:, lk.SELECTED_NS] >= 0
        spare = self._spare(slots)
        sampled_ns = np.where(spare, -1, stats[:, lk.SAMPLED_NS])
        pre_packets, pre_bytes = (np.where(spare, 0, stats[:, word]) for word in (lk.PRE_PACKETS, lk.PRE_BYTES))
        capture = np.where(sampled_ns == PRESERVED_NS, CAPTURES.index("preserved"), (sampled_ns < 0).astype(np.uint8))
        lost = lk.FORGOTTEN if self.mode.keeps_ghosts else lk.EVICTIONS
        lossless = not (self.counters[lk.REFUSED_SAMPLES] or self.counters[lost])
        expected, bound = undercount(self.probability, lossless)
        if not lossless:
            bound = np.inf  # what was refused, or recorded and then evicted, is not known any more
        missed = np.where(capture == CAPTURES.index("preserved"), 0.0, expected)
        packets, size = stats[:, lk.PACKETS], stats[:, lk.BYTES]
        mean_bytes = size / np.maximum(packets, 1)
        return Records(
            flow=self.fp[slots],
            selected=selected,
            capture=capture.astype(np.uint8),
            probability=np.full(len(slots), self.probability),
            first_ns=stats[:, lk.FIRST_NS],
            last_ns=stats[:, lk.LAST_NS],
            selected_ns=stats[:, lk.SELECTED_NS],
            packets=packets,
            bytes=size,
            pre_packets=np.where(selected, pre_packets, packets),
            pre_bytes=np.where(selected, pre_bytes, size),
            missed_packets=missed,
            missed_packets_bound=np.where(capture == CAPTURES.index("preserved"), 0.0, bound),
            estimate_bytes=size + np.where(capture == CAPTURES.index("sampled"), missed, 0.0) * mean_bytes,
            measured=self.measure.columns(slots),
        )

    def _spare(self, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say in which slots the words of a past are spare, because a selected flow has none: they are a ghost's."""
        return np.full(len(slots), self.mode.keeps_ghosts) & (self.rank[slots] & lk.STANDING == lk.SELECTED)

    def report_bytes(self, records: Records) -> int:
        """Return the size of a report."""
        return len(records) * (ENTRY_BYTES + self.measure.row_bytes)

    def start_epoch(self) -> None:
        """Forget what the last epoch counted, but for the entries that sample-and-hold preserves.

        Preserved are the entries of at least `preserve_bytes`, and those new in the epoch with at least
        `early_removal_bytes`; they count from the start of the new epoch, so exactly (Estan and Varghese 2002).
        """
        keep = np.empty(0, np.int64)
        if self.preserve_bytes is not None:
            slots = self.occupied()
            size = self.stats[slots, lk.BYTES]
            new = self._spare(slots) | (self.stats[slots, lk.SAMPLED_NS] != PRESERVED_NS)
            keep = slots[(size >= self.preserve_bytes) | (new & (size >= max(self.early_removal_bytes, 1)))]
        kept, size = self.fp[keep], self.stats[keep, lk.BYTES]
        worth = np.sqrt(size) * tk.CLOCK_UNITS if self.mode.recency else size
        self.fp[:] = 0
        self.rank[:] = 0
        self.stats[:] = 0
        self.counters[:] = 0
        self.measure.clear()
        self.rank[self.blocked] = BLOCKED
        self.fp[keep] = kept
        self.rank[keep] = worth.astype(np.uint64) + np.uint64(1)
        self.stats[keep, lk.SELECTED_NS] = -1
        self.stats[keep, lk.SAMPLED_NS] = PRESERVED_NS
        if len(self.marks):
            mk.mark_anew(self.fp, self.marks)
