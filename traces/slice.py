"""Cut a part out of a trace by time or by packets, and stretch its time: batches in, batches out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..errors import SpecError, TraceError
from .packets import PacketBatch, since_ns

LATEST_NS = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class Cut:
    """Which packets to take, and how to stretch their time.

    Times count from the trace's first packet; both ranges are half-open, and None leaves an end open. The
    first packet taken keeps its time, and every gap after it is multiplied by `stretch`.
    """

    start_s: float = 0.0
    end_s: float | None = None
    first_packet: int = 0
    end_packet: int | None = None
    stretch: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, with SpecError."""
        if not self.start_s >= 0 or self.first_packet < 0:
            raise SpecError("a slice starts at 0 or later: time and packets count from the first packet")
        if self.end_s is not None and not self.end_s > self.start_s:
            raise SpecError(f"the slice ends at {self.end_s:g} s, not after its start at {self.start_s:g} s")
        if self.end_packet is not None and self.end_packet <= self.first_packet:
            raise SpecError(f"packets {self.first_packet}:{self.end_packet} are none; the end must be greater")
        if not 0 < self.stretch < np.inf:
            raise SpecError(f"time cannot be stretched by {self.stretch:g}; give a factor above 0")


def cut(batches: Iterable[PacketBatch], what: Cut) -> Iterator[PacketBatch]:
    """Yield the packets of a slice; reading ends where the slice does.

    Raises TraceError where stretched times leave the range of 64-bit nanoseconds.
    """
    trace_start_ns = slice_start_ns = None
    seen = 0
    for batch in batches:
        if not len(batch):
            continue
        if trace_start_ns is None:
            trace_start_ns = int(batch.time_ns[0])
        from_row, to_row = _rows(batch, what, trace_start_ns, seen)
        seen += len(batch)
        if from_row < to_row:
            part = batch[from_row:to_row]
            if slice_start_ns is None:
                slice_start_ns = int(part.time_ns[0])
            yield part if what.stretch == 1 else _stretched(part, slice_start_ns, what.stretch)
        if to_row < len(batch):
            return


def _rows(batch: PacketBatch, what: Cut, trace_start_ns: int, seen: int) -> tuple[int, int]:
    """Return the half-open range of a batch's packets that the slice takes."""
    from_row = _first_row(batch, trace_start_ns, what.start_s)
    to_row = len(batch)
    if what.end_s is not None:
        to_row = _first_row(batch, trace_start_ns, what.end_s)
    if what.end_packet is not None:
        to_row = min(to_row, what.end_packet - seen)
    return max(from_row, what.first_packet - seen), to_row


def _first_row(batch: PacketBatch, trace_start_ns: int, second: float) -> int:
    """Return the row of the first packet that is not before a second of the trace."""
    at_ns = trace_start_ns + round(second * 1e9)
    return int(np.searchsorted(batch.time_ns, at_ns)) if at_ns <= LATEST_NS else len(batch)


def _stretched(batch: PacketBatch, start_ns: int, factor: float) -> PacketBatch:
    with np.errstate(over="ignore"):  # what is more than any number is refused below
        gaps_ns = np.rint(since_ns(batch.time_ns, start_ns) * factor)
    if gaps_ns[-1] >= float(LATEST_NS - start_ns):
        raise TraceError(f"stretched by {factor:g}, the trace ends after the last time that can be written")
    stretched_ns = gaps_ns.astype(np.uint64) + np.uint64(start_ns % 2**64)  # modulo 2**64, so the sign comes out right
    return replace(batch, time_ns=stretched_ns.astype(np.int64))
