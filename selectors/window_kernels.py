"""Hot loop of sums over a sliding window, kept in bins."""

from __future__ import annotations

from ..kernels import lean_kernel

BINS = 8


@lean_kernel
def window_sums(row, fresh, time_ns, amount, bins, latest, bin_ns, sums):
    """Add each sighting's amount to its row, and write the row's sum over the latest bins (those of the window).

    `amount` may be negative; a sighting whose bin has left the window adds nothing.
    """
    for i in range(len(row)):
        r = row[i]
        if r < 0:
            continue
        now = time_ns[i] // bin_ns
        if fresh[i]:
            bins[r, :] = 0
            latest[r] = now
        for gone in range(latest[r] + 1, min(now, latest[r] + BINS) + 1):
            bins[r, gone % BINS] = 0
        latest[r] = max(latest[r], now)
        bins[r, now % BINS] += amount[i]
        sums[i] = bins[r].sum()
