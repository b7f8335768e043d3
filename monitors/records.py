"""Flow records: what a monitor reports at the end of an epoch, and how far each figure can be trusted.

A record says how it came to be. *sampled*: an untagged packet was drawn; *selected*: the first recorded packet was
tagged (or a message announced the flow); *preserved*: the entry stood since before the epoch, so it is exact.

The undercount. A flow is recorded from the first packet that is drawn or tagged. Each packet before it was passed
over with probability 1 - p, so at least m packets were missed with a probability of at most (1 - p)^m: the expected
number missed is at most (1 - p) / p, and with 95 % confidence it is at most ln(0.05) / ln(1 - p) (sample and hold,
Estan and Varghese 2002). That holds where no drawn flow was refused or given up for want of memory; where the table
refused one or gave one up, there is no bound, and the record says so (infinity).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

CAPTURES = ("sampled", "selected", "preserved")
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Records:
    """Flow records as columns of equal length; one row is one flow of one table in one epoch."""

    flow: NDArray[np.uint64]
    """Key of the flow (traces/keys.py)."""
    selected: NDArray[np.bool_]
    capture: NDArray[np.uint8]
    """Index into `CAPTURES`."""
    probability: NDArray[np.float64]
    """Sampling probability that was in force."""
    first_ns: NDArray[np.int64]
    last_ns: NDArray[np.int64]
    """Of a flow that a message brought back into the table, and that sent nothing since: when the message came."""
    selected_ns: NDArray[np.int64]
    """When the monitor learnt of the selection; -1 where it did not."""
    packets: NDArray[np.int64]
    bytes: NDArray[np.int64]
    pre_packets: NDArray[np.int64]
    """Packets recorded before the monitor learnt of the selection; all of them where it did not."""
    pre_bytes: NDArray[np.int64]
    missed_packets: NDArray[np.float64]
    """Expected number of packets that passed before the record began (an upper bound on it for `selected`)."""
    missed_packets_bound: NDArray[np.float64]
    """With 95 % confidence not more than this many packets passed before the record began; may be infinite."""
    estimate_bytes: NDArray[np.float64]
    """Bytes of the flow in the epoch: those counted and, for `sampled`, those expected to be missed."""
    measured: dict[str, NDArray[np.float64]]
    """What the measure adds, one column a name: a sketch is of the packets since the flow had a slot."""

    def __len__(self) -> int:
        return len(self.flow)

    def __getitem__(self, which: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Records:
        """Take some of the rows."""
        measured = {name: column[which] for name, column in self.measured.items()}
        plain: dict[str, Any] = {f.name: getattr(self, f.name)[which] for f in fields(self)[:-1]}
        return Records(**plain, measured=measured)


def undercount(probability: float, bounded: bool) -> tuple[float, float]:
    """Return (expected number, 95 % bound) of packets missed before a record began."""
    if probability >= 1:
        return 0.0, 0.0
    if probability <= 0 or not bounded:
        return (1 - probability) / probability if probability > 0 else np.inf, np.inf
    return (1 - probability) / probability, float(np.log(1 - CONFIDENCE) / np.log1p(-probability))
