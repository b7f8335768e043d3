"""How the monitor's table is laid out: what a slot holds, who goes first, where a flow's slots are, what is counted.

A slot has the flow's key (0 where it is free), a rank that says who goes first, and a row of eight words.
"""

from __future__ import annotations

import numpy as np

from ..kernels import inline_kernel
from .bucket_kernels import WAYS

# the row of a slot (in `stats`)
COUNTS = 8
PACKETS, BYTES, FIRST_NS, LAST_NS = map(np.uint64, range(4))
SELECTED_NS, PRE_PACKETS, PRE_BYTES, SAMPLED_NS = map(np.uint64, range(4, COUNTS))

# what a table counts (entries of `counters`); BAR is the highest rank, less its bit SELECTED, of the tagged flows that
# had to go, CLOCK the clock of the mode `recent`, GHOSTS how many flows are counted in spare words now, and FORGOTTEN
# how many had to leave the table and found no such words, or outgrew them
REFUSED_SAMPLES, SELECTED_COLLISIONS, EVICTIONS, MOVES, SELECTED_FLOWS, LOGGED, BAR, CLOCK = range(8)
GHOSTS, FORGOTTEN, COUNTERS = 8, 9, 10

# the rank of a slot: 0 is free; above all others stand the flows that a message announced, and above those the
# tagged ones
SELECTED = np.uint64(1 << 63)
ANNOUNCED = np.uint64(1 << 62)
STANDING = np.uint64(3 << 62)
# and among the tagged ones those that were KNOWN before the tag (not in the mode `recent`), then those of the smaller
# span, then a hash decides, which is the same at all monitors; the lowest byte of a tagged flow's rank is spare
# (`ghost_kernels.py`)
KNOWN = np.uint64(1 << 62)
SPAN_SHIFT, MOST_SPAN, HASH_SHIFT = np.uint64(54), np.uint64(255), np.uint64(10)
SPARE = np.uint64(255)
ORDER = np.uint64(0x9E3779B97F4A7C15)

NOWHERE = np.uint64(2**64 - 1)
EIGHT, HALF, LOW_HALF = np.uint64(WAYS), np.uint64(32), np.uint64(0xFFFFFFFF)


@inline_kernel
def rank_of_tagged(flow, span):
    """Return the rank of a tagged flow whose path has this span: the same at all of its monitors."""
    return SELECTED | (MOST_SPAN - np.uint64(span)) << SPAN_SHIFT | ((flow * ORDER) >> HASH_SHIFT & ~SPARE)


@inline_kernel
def first_bucket(key, buckets):
    """Return the first slot of the first of a key's two buckets."""
    return ((key >> HALF) * buckets >> HALF) * EIGHT


@inline_kernel
def second_bucket(key, buckets):
    """Return the first slot of the second of a key's two buckets (another one, where there are two)."""
    slot = ((key & LOW_HALF) * buckets >> HALF) * EIGHT
    if slot == first_bucket(key, buckets):
        slot += EIGHT
        if slot == buckets * EIGHT:
            slot = np.uint64(0)
    return slot
