"""The elephant event: a flow that sends fast.

1. Time is cut into bins of `window_s` / 8.
2. The event is true where the flow's bytes (IP length) in the packet's bin and the seven before it reach
   `threshold_mbps` times `window_s`.

So the bytes counted lie within `window_s`: a flow found did send that fast; one that just does may be found up to an
eighth of the window late.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..fields import Field
from ..tasks import MOST_S
from .selector import Selector, Sightings
from .window_kernels import BINS, window_sums


class Elephant(Selector):
    """Selects flows of a high rate."""

    event = "elephant"
    needs_times = True
    measured = ("rate of the flow within the window", "Mbit/s")
    parameters: ClassVar = {
        "threshold_mbps": Field(float, "rate of a flow", 10.0, above=0, unit="Mbit/s"),
        "window_s": Field(float, "time over which the rate is taken", 1.0, above=0, maximum=MOST_S, unit="s"),
    }
    threshold_mbps: float
    window_s: float

    def allocate(self, rows: int) -> None:
        """Keep bytes by bin, and the latest bin."""
        self.bins = np.zeros((rows, BINS), np.int64)
        self.latest = np.zeros(rows, np.int64)

    def detect(
        self,
        seen: Sightings,
        row: NDArray[np.int64],
        fresh: NDArray[np.bool_],
        true: NDArray[np.bool_],
        value: NDArray[np.float64],
    ) -> None:
        """Add up the window of each packet's flow."""
        sums = np.zeros(len(row), np.int64)
        amount = seen.packets.ip_bytes.astype(np.int64)
        bin_ns = max(round(self.window_s * 1e9) // BINS, 1)
        window_sums(row, fresh, seen.packets.time_ns, amount, self.bins, self.latest, bin_ns, sums)
        true |= (row >= 0) & (sums >= self.threshold_mbps * 1e6 / 8 * self.window_s)
        fast = np.flatnonzero(true)
        value[fast] = sums[fast] * 8 / 1e6 / self.window_s
